"""The formats of predictions: what is written per picture, and what is made of all pictures at the end.

A format of a picture is written when it has been predicted; one of all pictures is made of the records
(:mod:`mmopt.apis.predict.records`), so that it is the same after an interruption.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmopt.datasets.common.predict import Result
from mmopt.utils.errors import UserError

__all__ = ['Format', 'choose_formats', 'known_formats']

Records = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        path: Where it goes in the output folder; ``{name}`` stands for the name of a picture.
        write: Called with (result, file): of one picture.
        gather: Called with (records, classes, file): of all pictures.
    """

    path: str
    write: Callable[[Any, Path], None] | None = None
    gather: Callable[[Records, Sequence[str], Path], None] | None = None


def known_formats(result_type: type[Result]) -> dict[str, Format]:
    """Return the formats of a kind of results by name: of a task that has no writers here, the results as json."""
    known = _FORMATS.get(result_type.task, dict(json=_JSON))
    return {name: chosen for name, chosen in known.items() if name not in result_type.lacks}


def choose_formats(result_type: type[Result], names: Sequence[str] | None) -> list[str]:
    """Return the formats to write.

    Args:
        result_type: Of the results.
        names: What the user asked for; None for all that the task has.

    Returns:
        Their names, each once.

    Raises:
        UserError: If the task has no such format.
    """
    known = known_formats(result_type)
    for name in names or ():
        if name not in known:
            raise UserError(f'--format {name}: {result_type.task} has {", ".join(known)}.')
    return list(dict.fromkeys(names or known))


def _write_picture(path: Path, picture: np.ndarray) -> None:
    # Encoded here and written by Python: OpenCV opens no path with letters beyond the system's code page.
    bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode('.png', bgr)
    path.write_bytes(encoded.tobytes())


def _draw(result: Any, path: Path) -> None:
    _write_picture(path, result.draw())


def _write_label(result: Any, path: Path) -> None:
    _write_picture(path, result.label)


def _write_color(result: Any, path: Path) -> None:
    _write_picture(path, result.color())


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
    _write_list(path, (dict(file=record['file'], **record['result']) for record in records))


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
            )


def _write_list(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON list entry by entry: it never is in memory as a whole."""
    with path.open('w', encoding='utf-8') as file:
        file.write('[')
        for number, entry in enumerate(entries):
            file.write((',\n' if number else '\n') + json.dumps(entry, ensure_ascii=False))
        file.write('\n]\n')


def _write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _gather_boxes(records: Records, classes: Sequence[str], path: Path) -> None:
    del classes
    rows = (
        (record['file'], name, label, score, *box)
        for record in records
        for found in [record['result']]
        for box, score, label, name in zip(
            found['boxes'], found['scores'], found['labels'], found['names'], strict=True
        )
    )
    _write_table(path, ('file', 'class', 'label', 'score', 'x1', 'y1', 'x2', 'y2'), rows)


def _gather_areas(records: Records, classes: Sequence[str], path: Path) -> None:
    rows = (
        (record['file'], name, count, count / (record['result']['size'][0] * record['result']['size'][1]))
        for record in records
        for name, count in zip(classes, record['result']['pixels'].values(), strict=True)
    )
    _write_table(path, ('file', 'class', 'pixels', 'share'), rows)


def _gather_labels(records: Records, classes: Sequence[str], path: Path) -> None:
    del classes
    rows = (
        (record['file'], name, label, found['scores'][label] if label < len(found['scores']) else '')
        for record in records
        for found in [record['result']]
        for label, name in zip(found['labels'], found['names'], strict=True)
    )
    _write_table(path, ('file', 'class', 'label', 'score'), rows)


_JSON = Format('results.json', gather=_gather_json)
_FORMATS: dict[str, dict[str, Format]] = dict(
    detection=dict(
        json=_JSON,
        coco=Format('coco_results.json', gather=_gather_coco),
        csv=Format('boxes.csv', gather=_gather_boxes),
        yolo=Format('labels/{name}.txt', _write_yolo),
        png=Format('pictures/{name}.png', _draw),
    ),
    segmentation=dict(
        json=_JSON,
        csv=Format('areas.csv', gather=_gather_areas),
        png=Format('labels/{name}.png', _write_label),
        color=Format('colors/{name}.png', _write_color),
        overlay=Format('pictures/{name}.png', _draw),
    ),
    classification=dict(
        json=_JSON,
        csv=Format('labels.csv', gather=_gather_labels),
        png=Format('pictures/{name}.png', _draw),
    ),
    samples=dict(
        json=_JSON,
        npz=Format('arrays/{name}.npz', _write_arrays),
        png=Format('pictures/{name}.png', _draw),
    ),
)
"""Task -> name of a format -> the format."""
