"""Read what runs logged: the ``scalars.json`` files that MMEngine writes under ``<work_dir>/<timestamp>/vis_data``.

A work dir holds one timestamp per start of the run. They are stitched by iteration: what a resumed part logged replaces
what the part before it logged from that iteration on.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmopt.utils.errors import UserError
from mmopt.utils.numbers import is_number
from mmopt.utils.score_rule import score_rule

__all__ = ['RunLog', 'is_lower_better', 'read_run']

_SCALARS = 'scalars.json'
_SUMMARY = 'summary.json'
# Bookkeeping of a line, not measurements.
_META = ('step', 'iter', 'epoch', 'mode')


@dataclass
class RunLog:
    """The curves of one run.

    Attributes:
        name: Name of the work dir.
        train: Points ``(iteration, value)`` by key, logged while training.
        val: The same of evaluations.
        main: The metric that chooses the best checkpoint; empty where nothing tells.
    """

    name: str
    train: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    val: dict[str, list[tuple[int, float]]] = field(default_factory=dict)
    main: str = ''

    def best(self, key: str, rule: str | None = None) -> tuple[int, float] | None:
        """Return the best point of a metric; the first of equal ones, as its checkpoint is.

        Args:
            key: A key of ``val``.
            rule: ``greater`` or ``less``; from the key's name unless given.

        Returns:
            Iteration and value; None where the metric was never a number.
        """
        points = [point for point in self.val.get(key, ()) if not math.isnan(point[1])]
        if not points:
            return None
        lower = rule == 'less' if rule else is_lower_better(key)
        return min(points, key=lambda point: point[1] if lower else -point[1])


def is_lower_better(key: str) -> bool:
    """Tell from a metric's name whether less of it is better."""
    return score_rule(key) == 'less'


def read_run(path: str | Path) -> RunLog:
    """Read a work dir, a time stamp's folder, or one file.

    Args:
        path: Where the run wrote.

    Returns:
        Its curves.

    Raises:
        UserError: If there is nothing to read, or a file holds something else.
    """
    path = Path(path)
    if path.is_file():
        files = [path]
    elif path.is_dir():
        # Time stamps sort by name.
        files = sorted(path.glob(f'*/vis_data/{_SCALARS}')) or sorted(path.glob(f'vis_data/{_SCALARS}'))
        files = files or sorted(path.glob(_SCALARS))
    else:
        raise UserError(f'run {path} does not exist; give a work dir, e.g. work_dirs/lss_swin_nuscenes.')
    if not files:
        raise UserError(f'{path} holds no <timestamp>/vis_data/{_SCALARS}: give the work dir of a run that has logged.')
    log = RunLog(path.resolve().name if path.is_dir() else path.resolve().parent.name)
    for file in files:
        for entries in _sessions(_parse(file)):
            _stitch(log, entries)
    log.main = _main_metric(path, log) if path.is_dir() else ''
    return log


def _main_metric(folder: Path, log: RunLog) -> str:
    """Return what chose the best checkpoint: by the summary, in a run without one by the checkpoint's name."""
    try:
        said = json.loads((folder / _SUMMARY).read_text(encoding='utf-8')).get('main_metric')
    except (OSError, ValueError, AttributeError):
        said = None
    if said in log.val:
        return said
    names = [path.stem.removeprefix('best_') for path in sorted(folder.glob('best_*.pth'))]
    return next((key for name in names for key in log.val if name.replace('_', '/') == key.replace('_', '/')), '')


def _parse(file: Path) -> list[dict]:
    lines = file.read_text(encoding='utf-8').splitlines()
    parsed: list[dict] = []
    for place, line in enumerate(lines, start=1):
        try:
            entry = json.loads(line) if line.strip() else {}
            if not isinstance(entry, dict):
                raise ValueError('not an object')
        except ValueError as error:
            if place == len(lines) and parsed:
                break  # the run was killed, or is writing this very line
            raise UserError(
                f'{file}:{place}: not a line of scalars ({error}); expected JSON like {{"loss": 1.0}}.'
            ) from error
        if entry:
            parsed.append(entry)
    return parsed


def _sessions(entries: list[dict]) -> list[list[dict]]:
    """Cut where a run went back to a checkpoint: what follows replaces, as after a resume."""
    sessions: list[list[dict]] = [[]]
    last = -1
    for entry in entries:
        if 'iter' in entry or 'lr' in entry:
            place = int(entry.get('iter', entry.get('step', 0)))
            if place <= last:
                sessions.append([])
            last = place
        sessions[-1].append(entry)
    return sessions


def _stitch(log: RunLog, entries: Sequence[dict]) -> None:
    train: dict[str, list[tuple[int, float]]] = {}
    val: dict[str, list[tuple[int, float]]] = {}
    first = last = None
    for entry in entries:
        is_train = 'iter' in entry or 'lr' in entry
        if is_train:
            last = int(entry.get('iter', entry.get('step', 0)))
            first = last if first is None else first
            place = last
        else:
            # Evaluations are numbered by iteration or by epoch; those by epoch follow what was trained.
            place = max(int(entry.get('step', 0)), last or 0)
        for key, value in entry.items():
            if key not in _META and is_number(value):
                (train if is_train else val).setdefault(key, []).append((place, float(value)))
    if first is None:
        first = min((points[0][0] for points in val.values()), default=0)
    for whole, part in ((log.train, train), (log.val, val)):
        for points in whole.values():
            points[:] = [point for point in points if point[0] < first]
        for key, points in part.items():
            whole.setdefault(key, []).extend(points)
