"""YOLO's layout: a text per picture, with a line per object.

``data.yaml`` has ``names`` and the folders of each split. Beside ``images/.../a.jpg`` lies ``labels/.../a.txt``: class,
then center and size as shares of the picture, or the corners of a polygon, of which the box around is taken.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml

from mmopt.datasets.common.decode import picture_size
from mmopt.datasets.detection.prepare.labeled import PICTURES, Box, LabeledPicture, Picture
from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['find_yaml', 'read_yolo', 'yolo_pictures']

_SPLITS = dict(train='train', val='val', valid='val', validation='val', test='test')


def find_yaml(root: Path) -> Path | None:
    """Return the file that describes a folder of YOLO's layout; None if there is none."""
    named = sorted([*root.glob('data.y*ml'), *root.glob('dataset.y*ml')]) or sorted(root.glob('*.y*ml'))
    return named[0] if named else None


def yolo_pictures(
    root: Path, description: Path | None, classes: Sequence[str] | None
) -> tuple[list[Picture], tuple[str, ...]]:
    """List the pictures of a folder.

    Args:
        root: The folder.
        description: Its ``data.yaml``; None: splits are the folders below ``images``, or all is for training.
        classes: Names that win over those of ``data.yaml``.

    Returns:
        The pictures, and the names of the classes.

    Raises:
        DataNotFoundError: If the folder of a split does not exist.
        DataError: If nothing names the classes.
    """
    content = _load_yaml(description) if description else {}
    names = content.get('names') if classes is None else classes
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names)]
    if not names:
        raise DataError(
            f'{root}: neither a data.yaml with names nor a folder Annotations of Pascal VOC. Give the names of the '
            'classes in order: --classes NAME ...'
        )
    base = root / content.get('path', '') if content.get('path') else root
    base = base if base.is_dir() else root
    folders = {split: content[key] for key, split in _SPLITS.items() if content.get(key)}
    if not folders:
        here = {split: f'images/{key}' for key, split in _SPLITS.items() if (root / 'images' / key).is_dir()}
        folders = here or {split: f'{key}/images' for key, split in _SPLITS.items() if (root / key / 'images').is_dir()}
    if not folders and (root / 'images').is_dir():
        folders = dict(train='images')
    pictures = []
    for split, given in folders.items():
        for folder in [given] if isinstance(given, str) else given:
            pictures += [Picture(split, image, _label_path(image)) for image in _list_pictures(base, root, folder)]
    return pictures, tuple(map(str, names))


def _load_yaml(path: Path) -> dict:
    try:
        content = yaml.safe_load(path.read_text(encoding='utf-8-sig'))
    except (OSError, ValueError, yaml.YAMLError) as error:
        raise DataError(f'{path}: not readable as YAML: {" ".join(str(error).split())}.') from error
    if not isinstance(content, dict):
        raise DataError(f'{path}: expected keys such as names, train and val.')
    return content


def _list_pictures(base: Path, root: Path, folder: str) -> list[Path]:
    # Exports of Roboflow say ../train/images where the folder lies beside the file.
    tried = [base / folder, root / folder, root / folder.removeprefix('../')]
    place = next((path for path in tried if path.exists()), None)
    if place is None:
        raise DataNotFoundError(f'{tried[0]} does not exist, which the data.yaml names.')
    if place.is_file():
        lines = place.read_text(encoding='utf-8').split('\n')
        return [place.parent / line.strip() for line in lines if line.strip()]
    return sorted(path for path in place.rglob('*') if path.suffix.lower() in PICTURES)


def _label_path(image: Path) -> Path | None:
    """Return the text of a picture: the last folder ``images`` becomes ``labels``; or it lies beside."""
    parts = list(image.parts)
    if 'images' in parts:
        last = len(parts) - 1 - parts[::-1].index('images')
        beside = Path(*parts[:last], 'labels', *parts[last + 1 :]).with_suffix('.txt')
        if beside.is_file():
            return beside
    return image.with_suffix('.txt') if image.with_suffix('.txt').is_file() else None


def read_yolo(picture: Picture, names: tuple[str, ...]) -> LabeledPicture:
    """Read the boxes of a picture.

    Args:
        names: Names of the classes, by their numbers.

    Returns:
        The boxes; none where there is no label file.

    Raises:
        DataNotFoundError: If the picture does not exist.
        DataError: If a line is no object; the message names it.
    """
    height, width = size = picture_size(picture.image)
    notes: Counter = Counter()
    if picture.label is None:
        return LabeledPicture(picture, size, (), {'pictures have no label file: nothing is on them': 1})
    boxes: list[Box] = []
    for line, text in enumerate(picture.label.read_text(encoding='utf-8-sig').splitlines(), start=1):
        words = text.split()
        if not words:
            continue
        where = f'{picture.label}:{line}'
        try:
            label, *values = float(words[0]), *map(float, words[1:])
        except ValueError as error:
            raise DataError(f'{where}: {error}.') from error
        if label != int(label) or not 0 <= label < len(names):
            raise DataError(f'{where}: class {words[0]}, but there are {len(names)} names: {", ".join(names[:8])}.')
        if not all(map(math.isfinite, values)) or max(values, default=0.0) > 1.5:
            raise DataError(f'{where}: {text!r} is not in shares of the picture, 0 to 1, as YOLO has them.')
        if len(values) in (4, 5):  # a fifth is the confidence of a prediction
            x, y, w, h = values[:4]
            left, top = x - w / 2, y - h / 2
        elif len(values) >= 6 and len(values) % 2 == 0:
            corners = np.array(values).reshape(-1, 2)
            (left, top), (w, h) = corners.min(axis=0), np.ptp(corners, axis=0)
            notes['polygons became the boxes around them'] += 1
        else:
            raise DataError(f'{where}: {len(values) + 1} numbers: expected class, x, y, width, height, or a polygon.')
        boxes.append((left * width, top * height, w * width, h * height, names[int(label)], False))
    return LabeledPicture(picture, size, tuple(boxes), notes)
