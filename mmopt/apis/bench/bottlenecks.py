"""Where each setting's whole schedule would spend its time, and what to change first: before and after."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmopt.apis.bench.text import markdown_table
from mmopt.apis.logs.time import Bottleneck
from mmopt.engine.logging.time_split import PARTS

__all__ = ['find_bottleneck', 'markdown_bottlenecks']

_OF_STEP = dict(data='data', copy='copy', forward='compute', backward='compute', optimizer='compute', other='hooks')


def find_bottleneck(row: Mapping[str, Any], trial: Mapping[str, Any]) -> dict[str, Any] | None:
    """Extend the measured parts of an iteration to the whole schedule.

    Args:
        row: The setting's row of the report, with ``parts_s`` of an iteration and ``hours`` of the schedule (empty: an
            iteration alone is looked at).
        trial: One of its trials.

    Returns:
        The fields of a :class:`~mmopt.apis.logs.time.Bottleneck`; None of a trial that did not note its settings.
    """
    if 'settings' not in trial:
        return None
    hours = row['hours'] or dict(train=row['step_s']['median'] / 3600, evaluate=0.0, save=0.0)
    seconds = dict.fromkeys(PARTS, 0.0)
    scale = 3600 * hours['train'] / sum(row['parts_s'].values())
    # Without a GPU nothing is copied to one: normalizing and distorting a batch is computed where the rest is.
    of_step = _OF_STEP if trial['settings'].get('device') == 'GPU' else _OF_STEP | dict(copy='compute')
    for part, of in of_step.items():
        seconds[of] += scale * row['parts_s'][part]
    seconds |= dict(evaluation=3600 * hours['evaluate'], checkpoints=3600 * hours['save'])
    schedule = trial['schedule']
    return dict(
        name=row['name'],
        seconds=seconds,
        num_iters=schedule['iters'],
        num_evaluations=schedule['evaluations'],
        settings=trial['settings'],
    )


def markdown_bottlenecks(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write what the first setting and the fastest one wait for (once, where they are one), and below it all of them.

    Args:
        rows: Rows of the report with a ``bottleneck``.

    Returns:
        The text.
    """
    runs = [Bottleneck(**row['bottleneck']) for row in rows]
    fastest = max(range(len(rows)), key=lambda index: rows[index]['speed']['median'] or 0.0)
    compared = (('Before', runs[0]), ('After', runs[fastest])) if fastest else (('The fastest', runs[0]),)
    lines = [f'- {when} ({run.name}): {run.split}. Change first: {run.verdict}.' for when, run in compared]
    body = [
        [run.name, *(f'{run.share(part):.0%}' for part in PARTS), run.advice.what if run.advice else 'a faster step']
        for run in runs
    ]
    return '\n'.join(lines) + '\n\n' + markdown_table(['setting', *PARTS, 'change first'], body)
