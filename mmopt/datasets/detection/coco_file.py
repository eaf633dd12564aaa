"""COCO's json as people have it: what is unambiguous is cleaned and counted, the rest is refused with its entry.

Shape letters: M boxes of an image.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.config.spelling import spelled
from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.numbers import is_number, is_whole
from mmopt.utils.shipped import tool_command

__all__ = ['CocoFile', 'CocoImage', 'read_coco']

_KEYS = dict(
    images=('id', 'file_name', 'height', 'width'),
    annotations=('image_id', 'category_id', 'bbox'),
    categories=('id', 'name'),
)
_CROWD = {None: 0, False: 0, True: 1, '': 0, '0': 0, '1': 1, 'false': 0, 'true': 1}


@dataclass(frozen=True)
class CocoImage:
    """An image and its boxes.

    Attributes:
        name: Its path from the image folder.
        pair_name: That of a second view of the same moment; empty if there is none.
        size: Height and width in pixels.
        boxes_M6: float32: x1, y1, x2, y2 in pixels, number of the class, 1 for a crowd.
    """

    id: Any
    name: str
    pair_name: str
    size: tuple[int, int]
    boxes_M6: np.ndarray


@dataclass(frozen=True)
class CocoFile:
    """What a json holds.

    Attributes:
        classes: Names of the categories, ordered by their ids.
        images: In the order of the file.
        notes: What was cleaned, in sentences for the user.
    """

    classes: tuple[str, ...]
    images: tuple[CocoImage, ...]
    notes: tuple[str, ...]


@dataclass
class _Reader:
    """One pass over a file; ``counts`` says how often something was cleaned."""

    path: Path
    counts: Counter = field(default_factory=Counter)

    def fail(self, entry: str, rule: str) -> DataError:
        return DataError(f'{self.path}: {entry}: {rule}')

    def number(self, entry: str, key: str, value: Any) -> float:
        """Take a number, or one that was written as text."""
        if is_number(value) and np.isfinite(value):
            return value
        try:
            number = float(value) if isinstance(value, str) else float('nan')
        except ValueError:
            number = float('nan')
        if not np.isfinite(number):
            raise self.fail(entry, f'{key} is {value!r}, it must be a number.')
        self.counts['numbers are written as text'] += 1
        return number

    def key(self, value: Any) -> Any:
        """Take an id: ``"2"`` is 2, so that programs that write both mean the same."""
        if isinstance(value, str) and value.strip().lstrip('-').isdecimal():
            self.counts['numbers are written as text'] += 1
            return int(value)
        return int(value) if isinstance(value, float) and value.is_integer() else value


@dataclass
class _Twins:
    """Annotations that share an id.

    Equal ones are one, written twice. Those of different images were numbered per image or come from joined files:
    their ids are of no use, their boxes are. Different ones of one image may be an old and a corrected box: nobody
    knows.
    """

    reader: _Reader
    seen: dict[str, dict[Any, tuple]] = field(default_factory=dict)
    equal: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def is_new(self, entry: str, key: Any, image_id: Any, row: tuple) -> bool:
        """Tell whether an annotation is none of those before; one that contradicts another is refused."""
        if key is None:
            return True
        of_id = self.seen.setdefault(str(key), {})  # "7" is 7
        if image_id not in of_id:
            if of_id:
                self.elsewhere.append(entry)
            of_id[image_id] = row
            return True
        if of_id[image_id] != row:
            raise self.reader.fail(
                entry,
                f'two annotations of image {image_id} have this id and differ: bbox {list(of_id[image_id][:4])} and '
                f'{list(row[:4])}. Remove one, or give each an id of its own.',
            )
        self.equal.append(entry)
        return False

    def tell(self) -> None:
        counts = self.reader.counts
        if self.equal:
            counts[f'annotations are there twice and count once, the first: {self.equal[0]}'] = len(self.equal)
        if self.elsewhere:
            what = f'annotations have the id of one of another image and count as well, the first: {self.elsewhere[0]}'
            counts[what] = len(self.elsewhere)


def read_coco(path: str | Path, bbox_format: str | None = None) -> CocoFile:
    """Read a json of COCO's format.

    Cleaned and counted: numbers and ids written as text, ``iscrowd`` that is null or a truth value, categories of one
    name (they are one class), Roboflow's category 0, which is the others' supercategory and has no box, and annotations
    whose id another one has, in another image or with the same box.

    Args:
        bbox_format: What ``bbox`` holds: ``'xywh'`` (x, y, width, height, as COCO says) or ``'xyxy'`` (two corners);
            None: x, y, width and height, refused where the boxes only make sense otherwise.

    Returns:
        The images with their boxes.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no COCO json, or an entry cannot be read; the message names the entry.
    """
    path = Path(path)
    reader = _Reader(path)
    coco = _load(reader)
    names, label_of = _read_categories(reader, coco)
    sizes = {key: (image['height'], image['width']) for key, image in coco['images'].items()}
    rows: dict[Any, list] = defaultdict(list)
    twins = _Twins(reader)
    for number, item in enumerate(coco['annotations']):
        entry = f'annotation {item.get("id", f"number {number}")}'
        image_id, category = reader.key(item['image_id']), reader.key(item['category_id'])
        if image_id not in sizes or category not in label_of:
            raise reader.fail(entry, f'category {category} of image {image_id}: one of them is not listed.')
        box = _read_box(reader, entry, item['bbox'])
        row = (*box, label_of[category], _read_crowd(reader, entry, item.get('iscrowd')))
        if twins.is_new(entry, item.get('id'), image_id, row):
            rows[image_id].append((entry, *row))
    twins.tell()
    boxes = {key: np.array([row[1:] for row in of_image], dtype=np.float64) for key, of_image in rows.items()}
    _check_format(reader, rows, boxes, sizes, bbox_format)
    if bbox_format != 'xyxy':
        for values in boxes.values():
            values[:, 2:4] += values[:, :2]
    nothing = np.zeros((0, 6))
    images = tuple(
        CocoImage(key, image['file_name'], image['pair'], sizes[key], boxes.get(key, nothing).astype(np.float32))
        for key, image in coco['images'].items()
    )
    return CocoFile(names, images, tuple(f'{count} {what}.' for what, count in reader.counts.items()))


def _load(reader: _Reader) -> dict[str, Any]:
    path = reader.path
    try:
        coco = json.loads(path.read_text(encoding='utf-8-sig'))
    except FileNotFoundError as error:
        raise DataNotFoundError(
            f'{path} does not exist. `{tool_command("prepare_boxes")}` makes it from YOLO or Pascal VOC files, '
            f'`{tool_command("prepare_fred")}` from FRED, `{tool_command("prepare_clips")}` from videos, '
            f'`{tool_command("make_demo", "fred")}` a generated set '
            f'(--options {spelled("data_root")}=...).'
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f'{path}: not readable as JSON: {error}.') from error
    missing = [key for key in _KEYS if not isinstance(coco, dict) or key not in coco]
    if missing:
        raise DataError(f'{path}: no COCO json: {", ".join(missing)} missing.')
    for kind, keys in _KEYS.items():
        if not isinstance(coco[kind], list):
            raise reader.fail(kind, f'it must be a list, is {json.dumps(coco[kind])[:40]}.')
        for item in coco[kind]:
            if not isinstance(item, dict) or not set(keys) <= item.keys():
                raise reader.fail(kind, f'each entry needs {", ".join(keys)}; one is {str(item)[:200]}.')
    images: dict[Any, dict] = {}
    for image in coco['images']:
        entry, key = f'image {image["id"]}', reader.key(image['id'])
        if key in images:
            raise reader.fail(entry, 'two images have this id.')
        images[key] = dict(
            file_name=_read_name(reader, entry, image['file_name']),
            pair=_read_name(reader, entry, image['pair_file_name']) if 'pair_file_name' in image else '',
            **{side: _read_side(reader, entry, side, image[side]) for side in ('height', 'width')},
        )
    return coco | dict(images=images)


def _read_name(reader: _Reader, entry: str, name: Any) -> str:
    if not isinstance(name, str) or not name:
        raise reader.fail(entry, f'file_name is {name!r}, it must be the path of a picture.')
    return name.replace('\\', '/')


def _read_side(reader: _Reader, entry: str, side: str, value: Any) -> int:
    number = reader.number(entry, side, value)
    if number < 1 or number != int(number):
        raise reader.fail(entry, f'{side} is {value!r}, it must be a whole number of pixels.')
    return int(number)


def _read_categories(reader: _Reader, coco: Mapping) -> tuple[tuple[str, ...], dict[Any, int]]:
    """Return the names of the classes, and category id -> number of its class."""
    by_id: dict[Any, str] = {}
    for item in coco['categories']:
        key, name = reader.key(item['id']), item['name']
        if not isinstance(name, str) or not name:
            raise reader.fail(f'category {key}', f'name is {name!r}, it must be a text.')
        if key in by_id:
            raise reader.fail(f'category {key}', f'two categories have this id: {by_id[key]!r} and {name!r}.')
        by_id[key] = name
    texts = [item for item in coco['categories'] if isinstance(item['id'], str)]
    if 0 < len(texts) < len(coco['categories']):
        raise reader.fail(
            f'category {texts[0]["id"]!r}', 'its id is a text, those of others are numbers: which is meant?'
        )
    used = {reader.key(item['category_id']) for item in coco['annotations']}
    above = {item.get('supercategory') for item in coco['categories'] if reader.key(item['id']) != 0}
    if 0 in by_id and by_id[0] in above and 0 not in used and len(by_id) > 1:
        group = by_id.pop(0)
        reader.counts[f'category, {group!r} with id 0, is the name of a group and has no box: it is no class'] += 1
    names = tuple(dict.fromkeys(by_id[key] for key in sorted(by_id)))
    if len(names) < len(by_id):
        reader.counts['categories have the name of another one: they are one class'] += len(by_id) - len(names)
    return names, {key: names.index(name) for key, name in by_id.items()}


def _read_box(reader: _Reader, entry: str, bbox: Any) -> list[float]:
    if not isinstance(bbox, Sequence) or isinstance(bbox, str) or len(bbox) != 4:
        raise reader.fail(entry, f'bbox must be four numbers, x, y, width and height, is {bbox!r}.')
    return [reader.number(entry, 'bbox', value) for value in bbox]


def _read_crowd(reader: _Reader, entry: str, value: Any) -> int:
    if is_whole(value) and value in (0, 1):
        return int(value)
    plain = value.strip().lower() if isinstance(value, str) else value
    if not isinstance(plain, str | bool | None) or plain not in _CROWD:
        raise reader.fail(entry, f'iscrowd is {value!r}, it must be 0 or 1.')
    if plain is not None:
        reader.counts['times iscrowd is no number'] += 1
    return _CROWD[plain]


def _check_format(
    reader: _Reader, rows: Mapping, boxes: Mapping[Any, np.ndarray], sizes: Mapping, bbox_format: str | None
) -> None:
    """Refuse boxes in shares of the image, corners in the place of sizes, and negative sizes."""
    if not boxes:
        return
    entries = [row[0] for of_image in rows.values() for row in of_image]
    box_N4 = np.concatenate([values[:, :4] for values in boxes.values()])
    height_N, width_N = np.concatenate([np.tile(sizes[key], (len(values), 1)) for key, values in boxes.items()]).T
    if box_N4.max() <= 1 and box_N4.max() > 0 and min(height_N.min(), width_N.min()) > 8:
        raise reader.fail(
            entries[int(box_N4.max(axis=1).argmax())],
            f'no coordinate of the {len(box_N4)} boxes exceeds 1, as if they were shares of the image; COCO has '
            'pixels. Multiply them by width and height.',
        )
    x, y, right, bottom = box_N4.T
    if bbox_format is None:
        # Boxes may reach out of their image; most of a set do not.
        outside_N = (x + right > width_N + 1) | (y + bottom > height_N + 1)
        corners_N = (right > x) & (bottom > y) & (right <= width_N + 1) & (bottom <= height_N + 1)
        if corners_N.all() and 2 * outside_N.sum() >= len(box_N4):
            raise reader.fail(
                entries[int(outside_N.argmax())],
                f'{outside_N.sum()} of {len(box_N4)} boxes reach out of their image as x, y, width, height, and none '
                "would as two corners x1, y1, x2, y2. Say bbox_format='xyxy' in the data set's config if that is what "
                "they are, else 'xywh'.",
            )
    size_N2 = box_N4[:, 2:] - box_N4[:, :2] if bbox_format == 'xyxy' else box_N4[:, 2:]
    if (size_N2 < 0).any():
        first = int((size_N2 < 0).any(axis=1).argmax())
        raise reader.fail(entries[first], f'bbox {box_N4[first].tolist()} has a negative width or height.')
