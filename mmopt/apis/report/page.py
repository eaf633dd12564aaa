"""Runs -> one HTML page, which needs nothing but itself: pictures and curves are in it."""

import base64
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import cv2
from jinja2 import Environment, StrictUndefined

from mmopt.apis.logs.curves import choose_keys, curve_title, draw_svg
from mmopt.apis.logs.time import TIME_COLORS, TIME_TITLES
from mmopt.apis.report.run import ReportedRun, read_reported_run
from mmopt.utils.terminal import seconds

__all__ = ['NUM_PICTURES', 'render_report', 'write_report']

NUM_PICTURES = 6
_PICTURE_WIDTH = 640
_MAX_DIFFERENCES = 200


def write_report(paths: Sequence[str | Path], out: str | Path) -> Path:
    """Write the report of one run, or of several side by side.

    Args:
        paths: Work dirs.
        out: The HTML file.

    Returns:
        Its path.

    Raises:
        UserError: If a work dir holds no log.
    """
    out = Path(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(render_report([read_reported_run(path) for path in paths]), encoding='utf-8')
    return out


def render_report(runs: Sequence[ReportedRun]) -> str:
    """Return the page.

    Args:
        runs: The first one is what others are compared with.

    Returns:
        HTML that refers to no other file.
    """
    template = files('mmopt.apis.report').joinpath('report.html.j2').read_text(encoding='utf-8')
    page = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    logs = [run.log for run in runs]
    figures = [run.figures() for run in runs]
    return page.from_string(template).render(
        title=' and '.join(run.name for run in runs) if len(runs) < 4 else f'{len(runs)} runs',
        runs=runs,
        figures=figures,
        labels=list(dict.fromkeys(label for figure in figures for label in figure)),
        curves=[(key, curve_title(key), draw_svg(logs, key)) for key in choose_keys(logs)],
        shares=[_shares(run) for run in runs],
        pictures=[list(_pictures(run)) for run in runs],
        differences=list(_differences(runs)) if len(runs) > 1 else [],
        own_text=[_own_text(run) for run in runs],
        config_text=['' if run.config_file is None else run.config_file.read_text(encoding='utf-8') for run in runs],
    )


def _shares(run: ReportedRun) -> list[dict[str, Any]]:
    if run.time is None:
        return []
    parts = [part for part in TIME_TITLES if run.time.share(part) >= 0.0005]
    return [
        dict(
            title=TIME_TITLES[part],
            color=TIME_COLORS[part],
            percent=100 * run.time.share(part),
            seconds=seconds(run.time.seconds[part]),
        )
        for part in parts
    ]


def _pictures(run: ReportedRun) -> Iterator[tuple[str, str]]:
    """Yield name and data address of the first pictures, no wider than a page shows them."""
    for path in run.pictures[:NUM_PICTURES]:
        image = cv2.imread(str(path))
        if image is None:
            continue
        height, width = image.shape[:2]
        if width > _PICTURE_WIDTH:
            size = (_PICTURE_WIDTH, round(height * _PICTURE_WIDTH / width))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        _, encoded = cv2.imencode('.jpg', image, [cv2.IMWRITE_JPEG_QUALITY, 85])
        yield path.name, f'data:image/jpeg;base64,{base64.b64encode(encoded.tobytes()).decode()}'


def _differences(runs: Sequence[ReportedRun]) -> Iterator[tuple[str, list[str]]]:
    """Yield what is not the same in the configs of all runs; where they write to is not a difference."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    num_found = 0
    for key in keys:
        values = [repr(run.config[key]) if key in run.config else '' for run in runs]
        if len(set(values)) > 1 and key != 'work_dir' and num_found < _MAX_DIFFERENCES:
            num_found += 1
            yield key, values


def _own_text(run: ReportedRun) -> str:
    """Return the config file of a run as it was written: a list of bases, and what differs from them."""
    path = Path(run.summary.get('config') or '')
    return path.read_text(encoding='utf-8', errors='replace') if path.suffix == '.py' and path.is_file() else ''
