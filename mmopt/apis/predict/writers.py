"""The formats of predictions: what is written per picture, and what is made of all pictures at the end.

A format of a picture is written when it has been predicted; one of all pictures is made of the records
(:mod:`mmopt.apis.predict.records`), so that it is the same after an interruption.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from mmopt.apis.predict import action_formats, behavior_formats, bev_formats
from mmopt.apis.predict.format import JSON, Format, Records, draw_result, write_list, write_picture, write_table
from mmopt.utils.errors import UserError

__all__ = ['Format', 'choose_formats', 'known_formats']


def known_formats(task: str) -> dict[str, Format]:
    """Return the formats of a task by name: of one that has no writers here, the results as json."""
    return _FORMATS.get(task, dict(json=JSON))


def choose_formats(task: str, names: Sequence[str] | None) -> list[str]:
    """Return the formats to write.

    Args:
        task: Of the results.
        names: What the user asked for; None for all that are written by default.

    Returns:
        Their names, each once.

    Raises:
        UserError: If the task has no such format.
    """
    known = known_formats(task)
    for name in names or ():
        if name not in known:
            raise UserError(f'--format {name}: {task} has {", ".join(known)}.')
    return list(dict.fromkeys(names or [name for name, chosen in known.items() if chosen.default]))


def _write_label(result: Any, path: Path) -> None:
    write_picture(path, result.label)


def _write_color(result: Any, path: Path) -> None:
    write_picture(path, result.color())


def _write_yolo(result: Any, path: Path) -> None:
    """Write ``class x y width height confidence`` per line: center and size as shares of the picture."""
    height, width = result.size
    lines = []
    for (x1, y1, x2, y2), score, label in zip(result.boxes, result.scores, result.labels, strict=True):
        shares = ((x1 + x2) / 2 / width, (y1 + y2) / 2 / height, (x2 - x1) / width, (y2 - y1) / height, score)
        lines.append(' '.join([str(int(label)), *(f'{share:.9g}' for share in shares)]))
    path.write_text(''.join(f'{line}\n' for line in lines), encoding='utf-8')


def _gather_coco(records: Records, classes: Sequence[str], path: Path) -> None:
    """Write COCO's results: ids of pictures and categories count from 1, in the order of sources and classes."""
    del classes
    write_list(path, _coco_boxes(records))


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
    write_table(path, ('file', 'class', 'label', 'score', 'x1', 'y1', 'x2', 'y2'), rows)


def _gather_areas(records: Records, classes: Sequence[str], path: Path) -> None:
    rows = (
        (record['file'], name, count, count / (record['result']['size'][0] * record['result']['size'][1]))
        for record in records
        for name, count in zip(classes, record['result']['pixels'].values(), strict=True)
    )
    write_table(path, ('file', 'class', 'pixels', 'share'), rows)


_FORMATS: dict[str, dict[str, Format]] = dict(
    detection=dict(
        json=JSON,
        coco=Format('coco_results.json', gather=_gather_coco),
        csv=Format('boxes.csv', gather=_gather_boxes),
        yolo=Format('labels/{name}.txt', _write_yolo),
        png=Format('pictures/{name}.png', draw_result),
    ),
    segmentation=dict(
        json=JSON,
        csv=Format('areas.csv', gather=_gather_areas),
        png=Format('labels/{name}.png', _write_label),
        color=Format('colors/{name}.png', _write_color),
        overlay=Format('pictures/{name}.png', draw_result),
    ),
    **{
        'temporal action detection': behavior_formats.FORMATS,
        'driver action recognition': action_formats.FORMATS,
        'bird-eye-view segmentation': bev_formats.FORMATS,
    },
)
"""Task -> name of a format -> the format."""
