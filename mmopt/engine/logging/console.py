"""What the terminal shows of a log: lines of at most 100 columns; the file has every value.

A record may carry its text for the terminal in the attribute ``short``.
"""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import TextIO

from mmopt.utils.score_rule import score_rule
from mmopt.utils.terminal import number, paint, seconds

__all__ = ['WIDTH', 'ConsoleFormatter', 'evaluation_line', 'loss_of', 'training_line']

WIDTH = 100
_CLOCK = '%H:%M:%S'
_MEMORY = ('mem_reserv_gib', 'mem_host_gib')
_STYLES = {logging.WARNING: 'yellow', logging.ERROR: 'red', logging.CRITICAL: 'red'}


class ConsoleFormatter(logging.Formatter):
    """Clock and text; warnings and errors say that they are some.

    Args:
        stream: Where the text goes: a terminal has colors.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, with a traceback where the record has one."""
        clock = paint(time.strftime(_CLOCK, time.localtime(record.created)), 'dim', self._stream)
        text = getattr(record, 'short', None) or record.getMessage()
        if (style := _STYLES.get(record.levelno)) is not None:
            text = f'{paint(f"{record.levelname.lower()}:", style, self._stream)} {text}'
        if record.exc_info:
            text = f'{text}\n{self.formatException(record.exc_info)}'
        return f'{clock}  {text}'


def training_line(
    place: str, scalars: Mapping[str, float], previous: float | None, left_s: float | None, stream: TextIO | None = None
) -> str:
    """Write the five values that tell whether a training goes well.

    Args:
        place: Where it is: ``120/1500``.
        scalars: The values of a log line.
        previous: The loss of the line before.
        left_s: Seconds that are left; None where nobody knows.
        stream: Where the text goes: a loss that fell is green on a terminal, one that rose red.

    Returns:
        Loss, learning rate, time per iteration, memory and the time that is left; what was not logged is left out.
    """
    loss = loss_of(scalars)
    parts = [place]
    if loss is not None:
        is_same = previous is None or loss == previous
        parts.append(_colored(f'loss {number(loss)}', is_same, previous is not None and loss < previous, stream))
    if 'lr' in scalars:
        parts.append(f'lr {scalars["lr"]:.2e}')
    if 'time' in scalars:
        parts.append(f'{seconds(scalars["time"])}/iter')
    memory = next((scalars[key] for key in _MEMORY if key in scalars), None)
    if memory is not None:
        parts.append(f'{memory:.1f} GiB')
    if left_s is not None:
        parts.append(f'{seconds(left_s)} left')
    return '  '.join(parts)


def loss_of(scalars: Mapping[str, float]) -> float | None:
    """Return the loss of a line: the sum, or the first of several optimizers'."""
    key = 'loss' if 'loss' in scalars else next((key for key in scalars if 'loss' in key and 'scale' not in key), None)
    return None if key is None else scalars[key]


def evaluation_line(
    place: str,
    metrics: Mapping[str, float],
    main: str | None,
    best: float | None,
    *,
    rule: str | None = None,
    num_values: int = 5,
    stream: TextIO | None = None,
) -> str:
    """Write the metric that chooses the best checkpoint, and a few beside it.

    Args:
        place: When it was: ``750/1500``.
        metrics: All of them; those of single classes (``IoU.car``) are left to the file.
        main: The one that counts.
        best: Its best value so far.
        rule: ``greater`` or ``less``; from the name unless given.
        num_values: Metrics at most.
        stream: Where the text goes: a new best is green on a terminal, a worse value red.

    Returns:
        The line.
    """
    parts = [f'validation {place}']
    if main is not None and main in metrics:
        value = metrics[main]
        is_less = (rule or score_rule(main)) == 'less'
        is_best = best is None or (value <= best if is_less else value >= best)
        beside = ' (best)' if is_best else f' (best {number(best or 0.0)})'
        parts.append(_colored(f'{main} {number(value)}{beside}', best is None, is_best, stream))
    others = [key for key in metrics if key != main and not set(key) & {'.', '/'} and 'time' not in key]
    return _fitting(parts, [f'{key} {number(metrics[key])}' for key in others[: num_values - 1]])


def _fitting(parts: list[str], others: Sequence[str]) -> str:
    width = len('00:00:00') + sum(len(part) + 2 for part in parts)
    for text in others:
        width += len(text) + 2
        if width > WIDTH:
            break
        parts = [*parts, text]
    return '  '.join(parts)


def _colored(text: str, is_same: bool, is_better: bool, stream: TextIO | None) -> str:
    return text if is_same else paint(text, 'green' if is_better else 'red', stream)
