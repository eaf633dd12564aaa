"""Whether more or less of a metric is better, told from its name as mmcv 1.x and its libraries tell it."""

import re
from collections.abc import Sequence

__all__ = ['score_rule']

_GREATER = ('acc', 'top', 'AR@', 'auc', 'precision', 'mAP', 'mDice', 'mIoU', 'mAcc', 'aAcc')
_LESS = ('loss',)
# mmcv refuses to guess these; nobody has ever meant anything else by them.
_ALSO_GREATER = ('F1', 'recall', 'IoU', 'NDS')
_ALSO_LESS = ('error', 'mae', 'mse', 'perplexity')
# Names of the libraries of mmcv 1.x (pose, text, tracking, editing, 3D, classification) that are too short to be looked
# for inside others: whole names, and words of a name without their digits ("Total AP", "AP_rgb", "PCK@0.05").
_NAMES = dict(
    greater=('cp', 'cr', 'cf1', 'op', 'or', 'of1', 'pq', 'sq', 'rq', 'is', 'mt', '1-n.e.d'),
    less=('fp', 'fn', 'ml', 'n.e.d'),
)
_WORDS = dict(
    greater={
        *('ap', 'ar', 'pck', 'pckh', 'tpck', 'dpck', 'pcp', 'dpcp', 'dauc', 'hmean', 'f', 'fscore', 'mfscore', 'dice'),
        *('mota', 'idf', 'hota', 'success', 'eao', 'psnr', 'ssim', 'cmc', 'pq'),
    },
    less={
        *(
            'nme',
            'epe',
            'mpjpe',
            'mrrpe',
            'mpvpe',
            'mpvertexe',
            'ids',
            'idsw',
            'robustness',
            'wer',
            'cer',
            'fid',
            'niqe',
        ),
        *('sad', 'mate', 'mase', 'maoe', 'mave', 'maae'),
    },
)


def score_rule(metric: str, greater: Sequence[str] | None = None, less: Sequence[str] | None = None) -> str | None:
    """Tell whether more or less of a metric is better; a whole name goes before a part of one, more before less.

    Args:
        metric: Name of the metric; case does not matter.
        greater: Key words that stand for more (mmcv's ``greater_keys``); None for the usual ones.
        less: Key words that stand for less (``less_keys``); None for the usual ones.

    Returns:
        ``'greater'`` or ``'less'``; None if no key word is in the name.
    """
    name = metric.lower()
    keys = dict(
        greater=[word.lower() for word in greater or _GREATER + _ALSO_GREATER],
        less=[word.lower() for word in less or _LESS + _ALSO_LESS],
    )
    for is_found in (list.__contains__, lambda items, text: any(item in text for item in items)):
        for answer, items in keys.items():
            if is_found(items, name):
                return answer
    words = {word.strip('0123456789') for word in re.findall('[a-z0-9]+', name)}
    answers = {answer for answer in _WORDS if name in _NAMES[answer] or words & _WORDS[answer]}
    return answers.pop() if len(answers) == 1 else None
