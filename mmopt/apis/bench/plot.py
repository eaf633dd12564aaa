"""A benchmark as a picture: throughput with its spread, where the time goes, and memory."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmopt.engine.bench import PARTS

__all__ = ['plot_rows']

# Okabe-Ito: told apart by color-blind readers, too.
_COLORS = dict(
    data='#D55E00', copy='#E69F00', forward='#0072B2', backward='#56B4E9', optimizer='#009E73', other='#999999'
)


def plot_rows(rows: Sequence[Mapping[str, Any]], path: Path, title: str) -> None:
    """Draw rows.

    Args:
        rows: Rows of :func:`mmopt.apis.bench.report.make_rows` that were measured.
        path: The picture to write.
        title: Stands above the panels.
    """
    # Not pyplot: it keeps figures alive and picks a window system.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    places = range(len(rows))
    figure = Figure(figsize=(13, 1.6 + 0.5 * len(rows)), layout='constrained', facecolor='white')
    FigureCanvasAgg(figure)
    speed, split, memory = figure.subplots(1, 3, sharey=True)
    for place, row in zip(places, rows, strict=True):
        value = row['samples_per_s']
        error = [[value['median'] - value['low']], [value['high'] - value['median']]]
        speed.barh(place, value['median'], xerr=error, color='#0072B2', ecolor='#333333', capsize=3)
        left = 0.0
        for part in PARTS:
            width = 1000 * row['parts_s'][part] / row['batch_size']
            split.barh(place, width, left=left, color=_COLORS[part], label=part if place == 0 else None)
            left += width
        memory.barh(place, row['peak_gib'], color='#CC79A7')
    speed.set_yticks(list(places), [row['name'] for row in rows])
    speed.invert_yaxis()
    heads = ('samples per second', 'ms per sample', f'peak memory [GiB], {rows[0]["peak_kind"]}')
    for axes, text in zip((speed, split, memory), heads, strict=True):
        axes.set_title(text, fontsize=11, loc='left', fontweight='bold')
        axes.grid(axis='x', color='#e3e3e3', linewidth=0.8)
        axes.set_axisbelow(True)
        axes.spines[['top', 'right']].set_visible(False)
        axes.tick_params(labelsize=9, color='#999999')
    handles, labels = split.get_legend_handles_labels()
    figure.legend(handles, labels, loc='outside lower center', ncols=len(PARTS), frameon=False, fontsize=9)
    figure.suptitle(title, fontsize=12)
    figure.savefig(path, dpi=120)
