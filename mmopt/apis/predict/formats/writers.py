"""The formats of predictions: what is written per picture, and what is made of all pictures at the end.

A format of a picture is written when it has been predicted; one of all pictures is made of the records
(:mod:`mmopt.apis.predict.records`), so that it is the same after an interruption.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmopt.apis.predict.items import Item
from mmopt.datasets.common.predict import Result
from mmopt.utils.errors import UserError

__all__ = [
    'JSON',
    'MP4',
    'Format',
    'Plan',
    'Records',
    'choose_formats',
    'draw_result',
    'known_formats',
    'write_picture',
    'write_rows',
    'write_table',
]

Records = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Format:
    """One format; one of the three functions writes it.

    Attributes:
        path: Where it goes in the output folder; ``{name}`` stands for the name of a picture, or of a film.
        write: Called with (result, file): of one picture.
        gather: Called with (records, classes, file): of all pictures.
        film: Called with a result: the frame that a film shows.
        default: Whether it is written of pictures if the user names no formats.
        of_frames: Whether it is written of a film's frames as well then: a file per frame is too much.
        is_drawing: Whether ``--show-every`` thins it out.
        needs: An attribute that the model sets to true, for what it does not give otherwise.
    """

    path: str
    write: Callable[[Any, Path], None] | None = None
    gather: Callable[[Records, Sequence[str], Path], None] | None = None
    film: Callable[[Any], np.ndarray] | None = None
    default: bool = True
    of_frames: bool = False
    is_drawing: bool = False
    needs: str | None = None


def known_formats(result_type: type[Result]) -> dict[str, Format]:
    """Return the formats of a kind of results by name: of a task that has no writers here, the results as json."""
    known = _all_formats().get(result_type.task, dict(json=JSON))
    return {name: chosen for name, chosen in known.items() if name not in result_type.lacks}


def choose_formats(result_type: type[Result], names: Sequence[str] | None) -> list[str]:
    """Return the formats to write.

    Args:
        result_type: Of the results.
        names: What the user asked for; None for all that the task writes by default.

    Returns:
        Their names, each once.

    Raises:
        UserError: If the task has no such format.
    """
    known = known_formats(result_type)
    for name in names or ():
        if name not in known:
            raise UserError(f'--format {name}: {result_type.task} has {", ".join(known)}.')
    return list(dict.fromkeys(names or (name for name, chosen in known.items() if chosen.default)))


class Plan:
    """Which files are written of which picture.

    Args:
        result_type: Of the results.
        names: What the user asked for, or None.
        show_every: Drawings are written of every so many pictures or frames alone; None: of all pictures, and of a
            film's frames if the user named the format.
    """

    def __init__(self, result_type: type[Result], names: Sequence[str] | None, show_every: int | None = None) -> None:
        if show_every is not None and show_every < 1:
            raise UserError(f'--show-every must be at least 1, got {show_every}.')
        self.names = choose_formats(result_type, names)
        self.formats = {name: known_formats(result_type)[name] for name in self.names}
        self._are_asked = names is not None
        self._show_every = show_every
        self._each = [chosen for chosen in self.formats.values() if chosen.write is not None]
        self._of_frames = [
            chosen
            for chosen in self._each
            if self._are_asked or chosen.of_frames or (chosen.is_drawing and show_every is not None)
        ]
        self.film = next((chosen for chosen in self.formats.values() if chosen.film is not None), None)
        """What is written of a film as one."""
        self.draws = any(chosen.is_drawing for chosen in self._each) or self.film is not None
        """Whether the pictures are needed beside the results."""

    def files(self, *, has_pictures: bool, has_films: bool) -> list[str]:
        """Return the paths of what is written, where there are single pictures, films, or both."""
        left_out = [] if has_pictures else [chosen for chosen in self._each if chosen not in self._of_frames]
        if self.film is not None and not has_films:
            left_out.append(self.film)
        return [chosen.path for chosen in self.formats.values() if chosen not in left_out]

    def of(self, item: Item) -> list[Format]:
        """Return the formats that are written of one picture; ``--show-every`` counts its place."""
        is_shown = self._show_every is None or item.place % self._show_every == 0
        chosen = self._each if item.film is None else self._of_frames
        return [one for one in chosen if is_shown or not one.is_drawing]


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write a picture, RGB or of one channel, as PNG."""
    # Encoded here and written by Python: OpenCV opens no path with letters beyond the system's code page.
    bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode('.png', bgr)
    path.write_bytes(encoded.tobytes())


def draw_result(result: Any, path: Path) -> None:
    """Write the drawing of a result."""
    write_picture(path, result.drawing)


def _write_label(result: Any, path: Path) -> None:
    # A PNG has 8 or 16 bits, none of them a sign.
    write_picture(path, result.label if result.label.dtype == np.uint8 else result.label.astype(np.uint16))


def _write_color(result: Any, path: Path) -> None:
    write_picture(path, result.color())


def _write_arrays(result: Any, path: Path) -> None:
    np.savez_compressed(path, **result.arrays())


def _write_yolo(result: Any, path: Path) -> None:
    """Write ``class x y width height confidence`` per line: center and size as shares of the picture."""
    height, width = result.size
    lines = []
    for (x1, y1, x2, y2), score, label in zip(result.boxes, result.scores, result.labels, strict=True):
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height, score)
        lines.append(' '.join([str(int(label)), *(f'{share:.9g}' for share in shares)]))
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')


def _gather_json(records: Records, classes: Sequence[str], path: Path) -> None:
    del classes  # they are in predictions.json
    _write_list(path, (dict(file=record['file'], **_frame_keys(record), **record['result']) for record in records))


def _gather_coco(records: Records, classes: Sequence[str], path: Path) -> None:
    """Write COCO's results: ids of pictures and categories count from 1, in the order of sources and classes."""
    del classes
    _write_list(path, _coco_boxes(records))


def _coco_boxes(records: Records) -> Iterator[dict[str, Any]]:
    for record in records:
        found = record['result']
        for (x1, y1, x2, y2), score, label in zip(found['boxes'], found['scores'], found['labels'], strict=True):
            yield dict(
                image_id=record['number'],
                category_id=label + 1,
                bbox=[x1, y1, x2 - x1, y2 - y1],
                score=score,
                file_name=record['file'],
                **_frame_keys(record),
            )


def _write_list(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON list entry by entry: it never is in memory as a whole."""
    with path.open('w', encoding='utf-8') as file:
        file.write('[')
        for number, entry in enumerate(entries):
            file.write((',\n' if number else '\n') + json.dumps(entry, ensure_ascii=False))
        file.write('\n]\n')


def write_rows(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Write a table row by row."""
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def write_table(
    path: Path,
    header: Sequence[str],
    records: Records,
    rows_of: Callable[[Mapping[str, Any]], Iterable[Sequence[Any]]],
) -> None:
    """Write a table: where something was found, and what."""
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        for number, record in enumerate(records):
            where = _where(record)
            if number == 0:
                writer.writerow((*('file', 'frame', 'time_s')[: len(where)], *header))
            writer.writerows((*where, *row) for row in rows_of(record['result']))
        if not file.tell():
            writer.writerow(('file', *header))


def _where(record: Mapping[str, Any]) -> tuple[Any, ...]:
    """Return the file; where there are films, the frame and its time as well, which a single picture has not."""
    if 'frame' not in record:
        return (record['file'],)
    time_s = record['time_s']
    return record['file'], record['frame'], None if time_s is None else f'{time_s:.6f}'


def _frame_keys(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: record[key] for key in ('frame', 'time_s') if record.get(key) is not None}


def _gather_boxes(records: Records, classes: Sequence[str], path: Path) -> None:
    del classes

    def rows_of(found: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        for box, score, label, name in zip(
            found['boxes'], found['scores'], found['labels'], found['names'], strict=True
        ):
            yield name, label, score, *box

    write_table(path, ('class', 'label', 'score', 'x1', 'y1', 'x2', 'y2'), records, rows_of)


def _gather_areas(records: Records, classes: Sequence[str], path: Path) -> None:
    def rows_of(found: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        height, width = found['size']
        for name, count in zip(classes, found['pixels'].values(), strict=True):
            yield name, count, count / (height * width)

    write_table(path, ('class', 'pixels', 'share'), records, rows_of)


def _gather_labels(records: Records, classes: Sequence[str], path: Path) -> None:
    del classes

    def rows_of(found: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        for label, name in zip(found['labels'], found['names'], strict=True):
            yield name, label, found['scores'][label] if label < len(found['scores']) else ''

    write_table(path, ('class', 'label', 'score'), records, rows_of)


def _write_probabilities(result: Any, path: Path) -> None:
    """Write ``probabilities``, float16 (classes, height, width), and the names of the classes."""
    with path.open('wb') as file:
        np.savez_compressed(file, probabilities=result.probabilities, classes=np.array(result.classes))


JSON = Format('results.json', gather=_gather_json)
"""The results of all sources."""
MP4 = Format('films/{name}.mp4', film=lambda result: result.drawing)
"""A film of the drawings of a film's frames."""
_FORMATS: dict[str, dict[str, Format]] = dict(
    detection=dict(
        json=JSON,
        coco=Format('coco_results.json', gather=_gather_coco),
        csv=Format('boxes.csv', gather=_gather_boxes),
        yolo=Format('labels/{name}.txt', _write_yolo),
        png=Format('pictures/{name}.png', draw_result, is_drawing=True),
        mp4=MP4,
    ),
    segmentation=dict(
        json=JSON,
        csv=Format('areas.csv', gather=_gather_areas),
        png=Format('labels/{name}.png', _write_label),
        color=Format('colors/{name}.png', _write_color, is_drawing=True),
        overlay=Format('pictures/{name}.png', draw_result, is_drawing=True),
        npz=Format('probabilities/{name}.npz', _write_probabilities, default=False, needs='keep_probabilities'),
        mp4=MP4,
    ),
    classification=dict(
        json=JSON,
        csv=Format('labels.csv', gather=_gather_labels),
        png=Format('pictures/{name}.png', draw_result, is_drawing=True),
        mp4=MP4,
    ),
    samples=dict(
        json=JSON,
        npz=Format('arrays/{name}.npz', _write_arrays),
        png=Format('pictures/{name}.png', draw_result, is_drawing=True),
        mp4=MP4,
    ),
)
"""Task -> name of a format -> the format."""


@cache
def _all_formats() -> dict[str, dict[str, Format]]:
    # Here: these modules are made of what this one has.
    from mmopt.apis.predict.formats import actions, behaviors, maps

    others = (actions, behaviors, maps)
    return _FORMATS | {module.TASK: module.FORMATS for module in others}
