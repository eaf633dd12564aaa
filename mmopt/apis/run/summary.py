"""What a run ends with: how good, how fast, how large, where everything lies, and what to try next."""

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from mmopt.utils.terminal import columns, number, paint, rows, seconds

__all__ = ['Expectation', 'Summary', 'format_metrics', 'median_iteration']

# The first iterations pay for compiling, autotuning and filling caches.
_WARMUP_ITERS = 10
# Fewer entries than this under one name are not a table of classes.
_MIN_GROUP = 3


@dataclass(frozen=True)
class Expectation:
    """A bound that a run's metric had to exceed.

    Attributes:
        metric: Its key.
        value: What the run reached at best.
        bound: What it had to exceed.
        source: Where the bound comes from, e.g. ``'ImageBlindBaseline 0.213 + 0.05'``; empty for a plain number.
        baseline: All metrics of the baseline, to be shown side by side.
    """

    metric: str
    value: float
    bound: float
    source: str = ''
    baseline: Mapping[str, float] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether the run is better than the bound; NaN is not."""
        return self.value > self.bound

    def __str__(self) -> str:
        source = f' ({self.source})' if self.source else ''
        verdict = paint('ok', 'green') if self.holds else paint('FAILED', 'red')
        return f'expected {self.metric} > {number(self.bound, 3)}{source}: {number(self.value, 3)} {verdict}'


@dataclass(frozen=True)
class Summary:
    """The end of a run.

    Attributes:
        metrics: Metrics of the last evaluation.
        best: Best value of the main metric and its iteration; None without evaluation.
        main_metric: Key of the metric that decides which checkpoint is best.
        iters: Iterations done.
        seconds_per_iter: Median, warm-up excluded; None if none was measured.
        wall_s: Seconds from the preflight block to here.
        peak_memory: Kind and GiB, e.g. ``('GPU, reserved', 20.1)``; None if nothing was measured.
        places: Labels and paths of what the run wrote.
        next_command: What to try next; empty for nothing.
        expectations: Bounds and whether they hold.
        time: Lines about where the time went, by label.
        config: The config file as the user named it.
        resume_command: What trains on, for more iterations.
        changes: What options and flags made another than the config file says: key -> the file's value, the run's.
        environment: Machine and versions.
        notes: What tables of metrics are about, by their names.
        stopped: What ended the run before its last iteration; empty where it got there.
    """

    metrics: Mapping[str, float]
    best: tuple[int, float] | None
    main_metric: str | None
    iters: int
    seconds_per_iter: float | None
    wall_s: float
    peak_memory: tuple[str, float] | None
    places: Mapping[str, str]
    next_command: str = ''
    expectations: Sequence[Expectation] = ()
    time: Mapping[str, str] = field(default_factory=dict)
    config: str = ''
    resume_command: str = ''
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    environment: Mapping[str, Any] = field(default_factory=dict)
    notes: Mapping[str, str] = field(default_factory=dict)
    stopped: str = ''

    @property
    def exit_code(self) -> int:
        """0 if every expectation holds, else 1."""
        return int(not all(expectation.holds for expectation in self.expectations))

    def __str__(self) -> str:
        entries: list[tuple[str, str]] = []
        if self.best is not None and self.main_metric is not None and self.main_metric in self.metrics:
            place, value = self.best
            last = self.metrics[self.main_metric]
            entries.append(
                (self.main_metric, f'best {number(value)} at iteration {number(place)}, last {number(last)}')
            )
        speed = f'{number(self.iters)} in {seconds(self.wall_s)}'
        if self.seconds_per_iter is not None:
            speed += f', {number(self.seconds_per_iter, 3)} s per iteration (median, warm-up excluded)'
        entries.append(('iterations', speed))
        if self.peak_memory is not None:
            entries.append(('peak memory', f'{self.peak_memory[1]:.2f} GiB ({self.peak_memory[0]})'))
        entries += [*self.time.items(), *self.places.items()]
        lines = [paint('Done', 'bold'), rows(entries)]
        if self.metrics:
            baseline = next((item.baseline for item in self.expectations if item.baseline), {})
            lines.append(format_metrics(self.metrics, baseline, self.notes))
        lines += [f'  {expectation}' for expectation in self.expectations]
        if self.next_command:
            lines.append(f'  next: {paint(self.next_command, "cyan")}')
        return '\n'.join(lines)

    def save(self, path: Path) -> None:
        """Write everything as JSON."""
        path.write_text(json.dumps(_plain(asdict(self)), indent=2) + '\n', encoding='utf-8')


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return None  # JSON has no NaN
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value


def median_iteration(times_s: Sequence[float]) -> float | None:
    """Return the median iteration time without the warm-up.

    Args:
        times_s: Seconds of each iteration of this session, in order.

    Returns:
        The median of all but the first ten, or of the last three quarters of a short run; None without any.
    """
    measured = list(times_s)[min(_WARMUP_ITERS, len(times_s) // 4) :]
    return statistics.median(measured) if measured else None


def _groups(metrics: Mapping[str, float]) -> tuple[dict[str, float], dict[str, dict[str, float]]]:
    """Split metrics into single ones and tables: ``IoU.car``, ``IoU/car`` belong to table ``IoU``, row ``car``."""
    tables: dict[str, dict[str, float]] = {}
    for key, value in metrics.items():
        cut = max(key.rfind('.'), key.rfind('/'))
        if cut > 0:
            tables.setdefault(key[:cut], {})[key[cut + 1 :]] = value
    tables = {name: members for name, members in tables.items() if len(members) >= _MIN_GROUP}
    single = {
        key: value for key, value in metrics.items() if key[: max(key.rfind('.'), key.rfind('/'), 0)] not in tables
    }
    return single, tables


def format_metrics(
    metrics: Mapping[str, float], baseline: Mapping[str, float] | None = None, notes: Mapping[str, str] | None = None
) -> str:
    """Set metrics in short aligned tables; NaN (a class that never occurs) is a dash.

    Args:
        metrics: Scalars by name.
        baseline: Values to show beside those of the same name.
        notes: What a table is about, by its name: said in its header.

    Returns:
        The lines.
    """
    baseline = baseline or {}
    single, tables = _groups(metrics)
    parts = []
    blocks = [('', single)] + list(tables.items()) if single else list(tables.items())
    for name, members in blocks:
        # Under a table's name only the last part of the key is repeated; the baseline is looked up by the whole key.
        whole = {label: _whole_key(metrics, name, label) for label in members}
        width = max(map(len, members))
        cells = []
        for label, value in members.items():
            beside = f'  ({_value(baseline[whole[label]])})' if whole[label] in baseline else ''
            cells.append(f'{label.ljust(width)}  {_value(value)}{beside}')
        note = f' {about}' if (about := (notes or {}).get(name)) else ''
        note += ' (baseline in brackets)' if any(key in baseline for key in whole.values()) else ''
        parts.append(f'  {paint(name or "metrics", "bold")}{paint(note, "dim") if note else ""}')
        parts.append(columns(cells, indent=4))
    return '\n'.join(parts)


def _whole_key(metrics: Mapping[str, float], name: str, label: str) -> str:
    return next((key for key in (f'{name}.{label}', f'{name}/{label}') if name and key in metrics), label)


def _value(value: float) -> str:
    if isinstance(value, float) and math.isnan(value):
        return '     -'
    return f'{value:6.4f}' if abs(value) < 10 and not isinstance(value, int) else f'{number(value):>6}'
