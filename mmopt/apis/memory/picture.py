"""A memory report as a picture: one bar per setting, stacked by what takes the memory, beside the card's limit."""

from pathlib import Path

from mmopt.apis.memory.estimate import MemoryReport
from mmopt.engine.memory.estimate import PARTS
from mmopt.utils.memory import GIB

__all__ = ['draw_report']

# Okabe and Ito's colors, which color-blind people tell apart.
_COLORS = dict(
    weights='#0072B2',
    averaged='#56B4E9',
    gradients='#CC79A7',
    optimizer='#D55E00',
    inputs='#999999',
    activations='#009E73',
    temporary='#F0E442',
    workspace='#E69F00',
    cached='#DDDDDD',
    context='#555555',
)


def draw_report(report: MemoryReport, path: Path) -> None:
    """Draw a report.

    Args:
        report: From :func:`mmopt.apis.estimate_memory`.
        path: PNG to write; its folder is made.
    """
    # Imported here, with a canvas of its own: pyplot would look for a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 1.4 + 0.5 * len(report.cases)), layout='constrained')
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    seen = set()
    for row, case in enumerate(report.cases):
        parts = {part: case['parts'][part] for part in PARTS}
        parts['cached'] = max(case['reserved'] - sum(parts.values()), 0)
        parts['context'] = report.context[1]
        left = 0.0
        for part, size in parts.items():
            if not size:
                continue
            width = size / GIB
            axes.barh(row, width, left=left, color=_COLORS[part], label=None if part in seen else part)
            seen.add(part)
            left += width
        low, middle, high = (size / GIB for size in report.card_bytes(case))
        axes.errorbar(middle, row, xerr=[[middle - low], [high - middle]], color='black', capsize=3)
    names = [f'{case["batch_size"]} x {case["precision"]}, {case["checkpointing"]}' for case in report.cases]
    axes.set_yticks(range(len(names)), names)
    axes.invert_yaxis()
    if report.budget is not None:
        axes.axvline(report.budget.total_bytes / GIB, color='red', linestyle='--', label=report.budget.name)
    axes.set_xlabel('GiB, estimated, not calibrated; the black line is the range')
    axes.set_title(report.config, fontsize=10)
    figure.legend(loc='outside right center', frameon=False, fontsize=8)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)
