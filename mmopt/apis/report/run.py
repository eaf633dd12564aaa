"""What a report shows of a run, read from its work dir; a run that is going on or was stopped has less."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmopt.apis.logs.read import RunLog, read_run
from mmopt.apis.logs.time import Bottleneck, read_time
from mmopt.config.files import read_file
from mmopt.config.options.look import leaves
from mmopt.utils.terminal import number, seconds

__all__ = ['ReportedRun', 'read_reported_run']

MAX_WARNINGS = 30
_SUMMARY = 'summary.json'
_WARNING = re.compile(r'^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - \S+ - (?:WARNING|ERROR) - (?P<text>.*)$')


@dataclass(frozen=True, eq=False)
class ReportedRun:
    """A run, as far as its work dir tells.

    Attributes:
        path: The work dir.
        log: Its curves; ``log.main`` is the metric that chooses the best checkpoint.
        summary: What ``summary.json`` says; empty until a run is done or stopped.
        time: Where its time went; None if it noted nothing.
        config_file: The config that the run took, with all options in it; None if there is none.
        config: Its values by dotted name.
        pictures: Pictures of predictions.
        warnings: What the newest log warns of, each once.
    """

    path: Path
    log: RunLog
    summary: Mapping[str, Any] = field(default_factory=dict)
    time: Bottleneck | None = None
    config_file: Path | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    pictures: tuple[Path, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What it is called: its work dir."""
        return self.log.name

    @property
    def is_done(self) -> bool:
        """Whether it reached its end."""
        return bool(self.summary) and not self.summary.get('stopped')

    def figures(self) -> dict[str, str]:
        """Return the headline figures as texts, by label."""
        found: dict[str, str] = {}
        main = self.log.main
        if main and (best := self.log.best(main)) is not None:
            found[f'best {main}'] = number(best[1])
            found['at iteration'] = number(best[0])
            found[f'last {main}'] = number(self.log.val[main][-1][1])
        iters = max((points[-1][0] for points in self.log.train.values() if points), default=0)
        found['iterations'] = number(iters)
        if (wall := self.summary.get('wall_s')) is not None:
            found['duration'] = seconds(wall)
        if (step := self.summary.get('seconds_per_iter')) is not None:
            found['per iteration'] = seconds(step)
        if peak := self.summary.get('peak_memory'):
            found['peak memory'] = f'{peak[1]:.2f} GiB'
        return found


def read_reported_run(path: str | Path) -> ReportedRun:
    """Read a work dir.

    Args:
        path: Of a run that has logged.

    Returns:
        What there is.

    Raises:
        UserError: If it holds no log.
    """
    log = read_run(path)
    folder = Path(path) if Path(path).is_dir() else Path(path).resolve().parents[2]
    summary = _read_json(folder / _SUMMARY)
    config_file = next(iter(sorted(folder.glob('*.py'))), None)
    return ReportedRun(
        path=folder,
        log=log,
        summary=summary,
        time=read_time(path),
        config_file=config_file,
        config={} if config_file is None else _read_config(config_file),
        pictures=tuple(sorted([*folder.glob('pictures/*.jpg'), *folder.glob('pictures/*.png')])),
        warnings=_read_warnings(folder / 'latest.log'),
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _read_config(path: Path) -> dict[str, Any]:
    try:
        return leaves(read_file(path))
    except Exception:  # a config with code of the user's that is not here
        return {}


def _read_warnings(path: Path) -> tuple[str, ...]:
    if not path.is_file():
        return ()
    lines = path.read_text(encoding='utf-8', errors='replace').splitlines()
    found = (match['text'] for line in lines if (match := _WARNING.match(line)))
    return tuple(dict.fromkeys(found))[:MAX_WARNINGS]
