"""Pictures with boxes on their way to COCO's json: what the readers of every layout give."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = ['PICTURES', 'Box', 'LabeledPicture', 'Picture']

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
