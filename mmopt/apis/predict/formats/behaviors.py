"""Behaviors as other programs read them: Kaggle, BORIS, SimBA, and the totals that behavior scientists report."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.apis.predict.formats.writers import JSON, Format, Records, draw_result, write_rows
from mmopt.datasets.tad.predict.result import BehaviorResult
from mmopt.evaluation.tad.kaggle import Event, short_names, to_events, write_submission

__all__ = ['FORMATS', 'TASK']

TASK = BehaviorResult.task

_BORIS = (
    'Observation id', 'Observation date', 'Description', 'Observation type', 'Source', 'Time offset (s)',
    'Media duration (s)', 'FPS (frame/s)', 'Subject', 'Behavior', 'Behavioral category', 'Modifiers', 'Behavior type',
    'Start (s)', 'Stop (s)', 'Duration (s)', 'Image index start', 'Image index stop', 'Comment start', 'Comment stop',
)  # fmt: skip
"""Columns of BORIS' "aggregated events"."""
_NOBODY = 'No focal subject'


def _results(records: Records, classes: Sequence[str]) -> Iterator[tuple[str, BehaviorResult]]:
    for record in records:
        yield record['file'], BehaviorResult.of_json(record['result'], classes)


def _gather_submission(records: Records, classes: Sequence[str], path: Path) -> None:
    """Write Kaggle's file; videos are named as the evaluation names them."""
    found: list[tuple[str, np.ndarray]] = []
    for record in records:
        result = BehaviorResult.of_json(record['result'], classes)
        # A file outside of MABe's layout is known by the name of what is written for it, which is its alone.
        name = f'{result.video.lab_id}/{result.title}' if result.video.lab_id else record['name']
        found.append((name, result.confident_rows()))
    ids = short_names([name for name, _ in found])
    write_submission(path, _events(found, ids, classes))


def _events(found: Sequence[tuple[str, np.ndarray]], ids: Mapping[str, str], classes: Sequence[str]) -> Iterator[Event]:
    for name, rows_N5 in found:
        yield from to_events(ids[name], rows_N5, classes)


def _gather_bouts(records: Records, classes: Sequence[str], path: Path) -> None:
    header = ('file', 'agent', 'target', 'behavior', 'start_frame', 'stop_frame', 'start_s', 'stop_s', 'duration_s',
              'score')  # fmt: skip
    rows = (
        (
            file, bout.agent, bout.target, bout.behavior, bout.start, bout.stop, _time(bout.start / result.fps),
            _time(bout.stop / result.fps), _time((bout.stop - bout.start) / result.fps), f'{bout.score:.6g}',
        )
        for file, result in _results(records, classes)
        for bout in result.bouts()
    )  # fmt: skip
    write_rows(path, header, rows)


def _gather_totals(records: Records, classes: Sequence[str], path: Path) -> None:
    """Write a row for every behavior that was looked for; what was not seen has a count of 0 and no latency."""
    header = ('file', 'agent', 'target', 'behavior', 'count', 'total_s', 'mean_s', 'latency_s', 'share_of_recording')
    rows = (
        (
            file, total.agent, total.target, total.behavior, total.num_bouts, _time(total.total_s),
            _time(total.mean_s), _time(total.latency_s), f'{total.total_s * result.fps / result.num_frames:.6g}',
        )
        for file, result in _results(records, classes)
        for total in result.totals()
    )  # fmt: skip
    write_rows(path, header, rows)


def _time(seconds: float | None) -> str:
    return '' if seconds is None else f'{seconds:.6f}'.rstrip('0').rstrip('.')


def _write_boris(result: BehaviorResult, path: Path) -> None:
    """Write one observation; the target of a behavior is its modifier."""
    length_s = _time(result.num_frames / result.fps)
    rows = []
    for bout in result.bouts():
        start_s, stop_s = bout.start / result.fps, bout.stop / result.fps
        subject = _NOBODY if bout.agent == 'all' else bout.agent
        modifier = '' if bout.target in ('self', 'all') else bout.target
        rows.append(
            (
                result.title, '', 'predicted by mmopt', 'Media file(s)', '', 0, length_s, _time(result.fps), subject,
                bout.behavior, '', modifier, 'STATE', _time(start_s), _time(stop_s), _time(stop_s - start_s),
                bout.start, bout.stop, '', '',
            )
        )  # fmt: skip
    write_rows(path, _BORIS, rows)


def _write_simba(result: BehaviorResult, path: Path) -> None:
    """Write a row per frame and a column of 0 and 1 per behavior, as SimBA's ``targets_inserted`` files end."""
    rows_N5 = result.confident_rows()
    names, columns = [], []
    pairs = {(agent, target) for agent, target, _ in result.video.labeled}
    for agent, target, action in result.video.labeled:
        who, whom = result.name_pair(agent, target)
        names.append(action if len(pairs) == 1 else f'{action}_{who}_{whom}')
        active_T = np.zeros(result.num_frames, dtype=np.int8)
        triple = (agent, target, result.classes.index(action))
        for start, stop in rows_N5[(rows_N5[:, 2:] == triple).all(axis=1), :2].tolist():
            active_T[start:stop] = 1
        columns.append(active_T)
    table_TK = np.stack(columns, axis=1)
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(['', *names])
        for frame in range(len(table_TK)):
            writer.writerow([frame, *table_TK[frame].tolist()])


FORMATS: dict[str, Any] = dict(
    json=JSON,
    kaggle=Format('submission.csv', gather=_gather_submission),
    csv=Format('bouts.csv', gather=_gather_bouts),
    totals=Format('totals.csv', gather=_gather_totals),
    boris=Format('boris/{name}.csv', _write_boris),
    simba=Format('simba/{name}.csv', _write_simba),
    png=Format('ethograms/{name}.png', draw_result, is_drawing=True),
)
"""Formats of recordings of animals."""
