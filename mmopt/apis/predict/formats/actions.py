"""Actions of recordings as tables and time lines."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmopt.apis.predict.formats.writers import JSON, Format, Records, draw_result, write_rows
from mmopt.datasets.video.predict.result import ActionResult

__all__ = ['FORMATS', 'TASK']

TASK = ActionResult.task


def _gather_windows(records: Records, classes: Sequence[str], path: Path) -> None:
    """Write a row per window or segment, with the probability of every action."""
    header = ('file', 'start_frame', 'stop_frame', 'start_s', 'stop_s', 'action', 'label', 'score', *classes)
    rows = (
        (record['file'], *segment, f'{start_s:.6f}', f'{stop_s:.6f}', name, label, score, *probabilities)
        for record in records
        for found in [record['result']]
        for segment, (start_s, stop_s), name, label, score, probabilities in zip(
            found['segments'], found['times_s'], found['names'], found['labels'], found['scores'],
            found['probabilities'], strict=True,
        )
    )  # fmt: skip
    write_rows(path, header, rows)


def _gather_actions(records: Records, classes: Sequence[str], path: Path) -> None:
    """Write a row per run of frames with one most probable action."""
    header = ('file', 'action', 'start_frame', 'stop_frame', 'start_s', 'stop_s', 'duration_s', 'score')
    rows = (
        (
            record['file'], classes[span.label], span.start, span.stop, f'{span.start_s:.6f}', f'{span.stop_s:.6f}',
            f'{span.stop_s - span.start_s:.6f}', f'{span.score:.6g}',
        )
        for record in records
        for span in ActionResult.of_json(record['result'], classes).spans()
    )  # fmt: skip
    write_rows(path, header, rows)


FORMATS: dict[str, Any] = dict(
    json=JSON,
    csv=Format('windows.csv', gather=_gather_windows),
    actions=Format('actions.csv', gather=_gather_actions),
    png=Format('timelines/{name}.png', draw_result, is_drawing=True),
)
"""Formats of recordings of drivers."""
