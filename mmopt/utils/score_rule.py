"""Whether more or less of a metric is better, told from its name as mmcv 1.x tells it."""

from collections.abc import Sequence

__all__ = ['score_rule']

_GREATER = ('acc', 'top', 'AR@', 'auc', 'precision', 'mAP', 'mDice', 'mIoU', 'mAcc', 'aAcc')
_LESS = ('loss',)
# mmcv refuses to guess these; nobody has ever meant anything else by them.
_ALSO_GREATER = ('F1', 'recall', 'IoU', 'NDS')
_ALSO_LESS = ('error', 'mae', 'mse', 'perplexity')


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
    words = dict(
        greater=[word.lower() for word in greater or _GREATER + _ALSO_GREATER],
        less=[word.lower() for word in less or _LESS + _ALSO_LESS],
    )
    for is_found in (list.__contains__, lambda items, text: any(item in text for item in items)):
        for answer, items in words.items():
            if is_found(items, name):
                return answer
    return None
