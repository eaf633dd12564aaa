"""Pictures with boxes on their way to COCO's json: what the readers of every layout give."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, UnidentifiedImageError

from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['PICTURES', 'Box', 'LabeledPicture', 'Picture', 'picture_size']

PICTURES = ('.jpg', '.jpeg', '.png', '.bmp', '.tif', '.tiff', '.webp')
"""Endings of the files that count as pictures."""
Box = tuple[float, float, float, float, str, bool]
"""x, y, width, height in pixels, name of the class, and whether it is difficult (counts neither way)."""


@dataclass(frozen=True)
class Picture:
    """A picture with its annotation file, which may be missing: then nothing is on it."""

    split: str
    image: Path
    label: Path | None


@dataclass(frozen=True)
class LabeledPicture:
    """What was read of a picture.

    Attributes:
        size: Height and width.
        notes: What was odd, with its count.
    """

    picture: Picture
    size: tuple[int, int]
    boxes: tuple[Box, ...]
    notes: Mapping[str, int]


def picture_size(path: Path) -> tuple[int, int]:
    """Return height and width from the file's head, as they are displayed.

    Returns:
        Height and width in pixels.

    Raises:
        DataNotFoundError: If there is no such file.
        DataError: If it is no picture.
    """
    if not path.is_file():
        raise DataNotFoundError(f'{path} does not exist.')
    try:
        with Image.open(path) as image:
            width, height = image.size
            turned = image.getexif().get(0x0112, 1) >= 5
    except (OSError, UnidentifiedImageError) as error:
        raise DataError(f'{path}: not an image that can be read: {error}.') from error
    return (width, height) if turned else (height, width)
