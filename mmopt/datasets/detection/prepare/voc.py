"""Pascal VOC's layout: an xml per picture.

``Annotations/a.xml`` has corners in pixels; pictures lie in ``JPEGImages`` (or beside the xml), splits are lists in
``ImageSets/Main``. Pixels count from 1 and both corners belong to the box, as in the devkit.
"""

import math
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmopt.datasets.common.decode import picture_size
from mmopt.datasets.detection.prepare.labeled import PICTURES, Box, LabeledPicture, Picture
from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['read_voc', 'voc_pictures']

_SPLITS = ('train', 'val', 'test', 'trainval')


def voc_pictures(root: Path) -> Iterator[Picture]:
    """List the pictures of a folder.

    Yields:
        Those that the lists name, or all, to train on.

    Raises:
        DataNotFoundError: If a picture or its xml does not exist.
    """
    lists = {split: path for split in _SPLITS if (path := root / 'ImageSets' / 'Main' / f'{split}.txt').is_file()}
    if {'train', 'val'} <= lists.keys():
        lists.pop('trainval', None)
    if not lists:
        for label in sorted((root / 'Annotations').rglob('*.xml')):
            yield Picture('train', _voc_image(root, label), label)
        return
    for split, path in lists.items():
        for line in path.read_text(encoding='utf-8').splitlines():
            if line.strip():
                label = root / 'Annotations' / f'{line.split()[0]}.xml'
                if not label.is_file():
                    raise DataNotFoundError(f'{label} does not exist, which {path} names.')
                yield Picture(split, _voc_image(root, label), label)


def _voc_image(root: Path, label: Path) -> Path:
    folders = [root / 'JPEGImages', root / 'images', label.parent, root]
    for folder in folders:
        for suffix in PICTURES:
            for spelled in (suffix, suffix.upper()):
                if (path := folder / f'{label.stem}{spelled}').is_file():
                    return path
    raise DataNotFoundError(f'{label}: no picture {label.stem}.jpg (or other) in {folders[0]} or beside it.')


def read_voc(picture: Picture, names: tuple[str, ...] | None) -> LabeledPicture:
    """Read the boxes of a picture.

    Args:
        names: Classes to keep; None: all.

    Returns:
        The boxes, with the objects that were left out.

    Raises:
        DataError: If the xml cannot be read or contradicts the picture.
    """
    assert picture.label is not None
    size = picture_size(picture.image)
    try:
        tree = ElementTree.parse(picture.label).getroot()
    except (OSError, ElementTree.ParseError) as error:
        raise DataError(f'{picture.label}: not readable as XML: {error}.') from error
    notes: Counter = Counter()
    stated = tree.find('size')
    if stated is not None:
        given = tuple(_xml_number(picture.label, stated, name) for name in ('height', 'width'))
        if all(given) and given != size:
            said = f'{given[0]:g}x{given[1]:g}'
            raise DataError(f'{picture.label}: the picture is {size[0]}x{size[1]}, the xml says {said}.')
    boxes: list[Box] = []
    for thing in tree.iter('object'):
        name, bounds = (thing.findtext('name') or '').strip(), thing.find('bndbox')
        if not name or bounds is None:
            raise DataError(f'{picture.label}: an object lacks its name or bndbox.')
        if names is not None and name not in names:
            notes[f'objects {name!r} are of no chosen class'] += 1
            continue
        x1, y1, x2, y2 = (_xml_number(picture.label, bounds, key) for key in ('xmin', 'ymin', 'xmax', 'ymax'))
        if x2 < x1 or y2 < y1:
            raise DataError(f'{picture.label}: {name}: the corners {x1:g}, {y1:g} and {x2:g}, {y2:g} are in no order.')
        difficult = (thing.findtext('difficult') or '0').strip() == '1'
        boxes.append((x1 - 1, y1 - 1, x2 - x1 + 1, y2 - y1 + 1, name, difficult))
    return LabeledPicture(picture, size, tuple(boxes), notes)


def _xml_number(path: Path, parent: Any, name: str) -> float:
    text = parent.findtext(name)
    try:
        number = float(text)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise DataError(f'{path}: {parent.tag}: {name} is {text!r}, it must be a number.')
    return number
