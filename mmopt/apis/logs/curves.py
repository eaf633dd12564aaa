"""Curves of one or more runs as one picture, and their end values as a table."""

import io
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mmopt.apis.logs.read import RunLog, is_lower_better
from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest, number

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ['DEFAULT_PANELS', 'available_keys', 'choose_keys', 'curve_title', 'draw_svg', 'plot_curves', 'table']

DEFAULT_PANELS = ('loss', 'lr', 'metric', 'memory', 'time')

# What a panel's name stands for, the first that was logged.
_MEMORY = ('mem_reserv_gib', 'mem_alloc_gib', 'mem_host_gib', 'memory')
_NOT_METRICS = ('time', 'data_time')
_TITLES = dict(
    loss='loss',
    lr='learning rate',
    time='seconds per iteration',
    mem_reserv_gib='GPU memory reserved [GiB]',
    mem_alloc_gib='GPU memory allocated [GiB]',
    mem_host_gib='process memory [GiB]',
    memory='GPU memory [MiB]',
)
# Okabe-Ito: told apart by color-blind readers, too.
_COLORS = ('#0072B2', '#D55E00', '#009E73', '#CC79A7', '#E69F00', '#56B4E9', '#000000')


def available_keys(logs: Sequence[RunLog]) -> list[str]:
    """Return every key that any run logged, training first."""
    found = {key: None for log in logs for key in log.train}
    found.update({key: None for log in logs for key in log.val if key not in _NOT_METRICS})
    return list(found)


def choose_keys(logs: Sequence[RunLog], names: Sequence[str] = DEFAULT_PANELS) -> list[str]:
    """Find the keys behind panel names.

    Args:
        names: Logged keys; ``memory`` and ``metric`` stand for what the runs have of it. Default names without any
            data are left out.

    Returns:
        Logged keys, in order, each once.

    Raises:
        UserError: If a name was asked for and no run logged it.
    """
    known = available_keys(logs)
    train = {key for log in logs for key in log.train}
    chosen: dict[str, None] = {}
    for name in names:
        if name in known:
            keys = [name]
        elif name == 'memory':
            keys = [key for key in _MEMORY if key in known][:1]
        elif name == 'metric':
            # What chooses the best checkpoint; a run that does not say has the first that only evaluations measure.
            keys = [log.main for log in logs if log.main] or [key for key in known if key not in train][:1]
        else:
            keys = []
        if not keys and tuple(names) != DEFAULT_PANELS:
            near = nearest(name, known)
            hint = f'did you mean {" or ".join(near)}?' if near else f'logged: {", ".join(known[:20])}.'
            raise UserError(f'--keys {name}: no run logged it; {hint}')
        chosen.update(dict.fromkeys(keys))
    return list(chosen)


def _points(log: RunLog, key: str) -> list[tuple[int, float]]:
    """Return what a key comes to: of a metric the evaluations', of everything else the training's."""
    measured, trained = log.val.get(key), log.train.get(key)
    if key in _NOT_METRICS or 'loss' in key:
        return trained or measured or []
    return measured or trained or []


def _all_points(log: RunLog, key: str) -> list[tuple[int, float]]:
    beside = [] if key in _NOT_METRICS else log.val.get(key, [])
    return [*log.train.get(key, []), *beside]


def table(logs: Sequence[RunLog], keys: Sequence[str]) -> str:
    """Set the end values of each run in a table: last, best of metrics and losses, median of times, peak of memory.

    Args:
        logs: The runs, one row each.
        keys: The columns.

    Returns:
        The lines.
    """
    head = ['run', 'iterations', *keys]
    body = []
    for log in logs:
        last = max((points[-1][0] for points in (*log.train.values(), *log.val.values()) if points), default=0)
        body.append([log.name, number(last), *(_cell(log, key) for key in keys)])
    widths = [max(len(row[place]) for row in [head, *body]) for place in range(len(head))]
    lines = []
    for row in [head, *body]:
        cells = [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        lines.append('  '.join(cells).rstrip())
    return '\n'.join(lines)


def _cell(log: RunLog, key: str) -> str:
    points = _points(log, key)
    if not points:
        return '-'
    values = [value for _, value in points]
    if key == 'lr':
        return number(values[-1], 3)
    if 'time' in key:
        return f'{number(statistics.median(values), 3)} median'
    if key in _MEMORY:
        return f'{number(max(values), 3)} peak'
    lower = is_lower_better(key)
    place, best = min(points, key=lambda point: point[1] if lower else -point[1])
    return f'{number(values[-1])} (best {number(best)} at {number(place)})'


def plot_curves(logs: Sequence[RunLog], keys: Sequence[str], path: str | Path, title: str | None = None) -> Path:
    """Draw one panel per key with one curve per run.

    Args:
        keys: The panels.
        path: The picture to write.
        title: Stands above the panels.

    Returns:
        The path.

    Raises:
        UserError: If there is nothing to draw.
    """
    if not keys:
        raise UserError('nothing to draw: the runs logged neither losses nor metrics yet.')
    figure = _figure(logs, keys, title)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
    return path


def draw_svg(logs: Sequence[RunLog], key: str) -> str:
    """Draw one panel as an SVG element, which a page can hold: letters are text, and no name in it is another's."""
    import matplotlib as mpl

    with mpl.rc_context({'svg.fonttype': 'none', 'svg.hashsalt': key}):
        text = io.StringIO()
        _figure(logs, [key], None).savefig(text, format='svg', metadata={'Date': None})
    svg = text.getvalue()
    # Groups are called figure_1, axes_1, ... in every figure; only what is referred to needs a name.
    used = set(re.findall(r'#([\w.-]+)', svg))
    svg = re.sub(r' id="([^"]*)"', lambda found: found[0] if found[1] in used else '', svg)
    return svg[svg.index('<svg') :]


def curve_title(key: str) -> str:
    """Say what a panel shows."""
    return _TITLES.get(key, key)


def _figure(logs: Sequence[RunLog], keys: Sequence[str], title: str | None) -> 'Figure':
    # Not pyplot: it keeps figures alive and picks a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_columns = min(len(keys), 3)
    num_rows = -(-len(keys) // num_columns)
    figure = Figure(figsize=(4.6 * num_columns, 3.1 * num_rows + 0.5), layout='constrained', facecolor='white')
    FigureCanvasAgg(figure)
    last = max((place for log in logs for key in keys for place, _ in _all_points(log, key)), default=0) or 1
    for place, key in enumerate(keys):
        axes = figure.add_subplot(num_rows, num_columns, place + 1)
        for index, log in enumerate(logs):
            _draw(axes, log, key, _COLORS[index % len(_COLORS)])
        axes.set_title(curve_title(key), fontsize=11, loc='left', fontweight='bold')
        axes.grid(color='#e3e3e3', linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[['top', 'right']].set_visible(False)
        axes.tick_params(labelsize=9, color='#999999')
        if place >= len(keys) - num_columns:
            axes.set_xlabel('iteration', fontsize=9)
        axes.set_xlim(0, 1.02 * last)
        _scale(axes, logs, key)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    if len(logs) > 1 and handles:
        figure.legend(handles, labels, loc='outside lower center', ncols=min(len(logs), 4), frameon=False, fontsize=9)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _draw(axes, log: RunLog, key: str, color: str) -> None:
    trained, measured = log.train.get(key), None if key in _NOT_METRICS else log.val.get(key)
    both = trained is not None and measured is not None
    for points, is_training in ((trained, True), (measured, False)):
        if not points:
            continue
        steps, values = zip(*points, strict=True)
        axes.plot(
            steps,
            values,
            color=color,
            # Beside an evaluation the training stands back.
            linewidth=1.0 if both and is_training else 1.6,
            alpha=0.55 if both and is_training else 1.0,
            linestyle='--' if both and is_training else '-',
            marker='o' if len(points) <= 40 and not (both and is_training) else None,
            markersize=3,
            label=None if both and is_training else log.name,
        )
    if trained is not None and measured is not None:
        for place, text in ((trained, 'training'), (measured, 'validation')):
            axes.annotate(
                text, place[-1], textcoords='offset points', xytext=(0, 5), ha='right', fontsize=8, color=color
            )
    if not measured or len(measured) < 2 or 'loss' in key:
        return
    best = log.best(key)
    if best is not None:
        axes.plot(*best, marker='*', markersize=11, color=color, markeredgecolor='white', linestyle='none')
        axes.annotate(
            number(best[1], 3), best, textcoords='offset points', xytext=(0, -13), ha='center', fontsize=8, color=color
        )


def _scale(axes, logs: Sequence[RunLog], key: str) -> None:
    values = [value for log in logs for _, value in _all_points(log, key)]
    positive = [value for value in values if value > 0]
    # A loss that falls by more than a factor of 20 shows its end only on a logarithmic scale.
    if 'loss' in key and positive and len(positive) == len(values) and max(values) > 20 * min(values):
        axes.set_yscale('log')
    elif values and min(values) >= 0:
        axes.set_ylim(0, 1.08 * max(values) or 1)
    if values and max(map(abs, values)) < 0.01:
        axes.ticklabel_format(axis='y', style='sci', scilimits=(0, 0))
