"""The classes of the pixels of one picture.

Shape letters: K classes, H W picture.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from mmopt.datasets.common.predict import Result
from mmopt.datasets.segmentation.pictures import colorize, name_regions, palette_of, tint

__all__ = ['SegmentationResult']


class SegmentationResult(Result):
    """A class per pixel.

    Args:
        label: (H, W): class numbers of :func:`~mmopt.structures.pixel_labels.label_type`, in the size of the file.
        classes: Names, by class number.
        palette: Red, green and blue, by class number; None: distinct colors.
        load: Reads the picture.
        probabilities: float16 (K, H, W), if the model was asked to keep them.
    """

    task = 'segmentation'

    def __init__(
        self,
        label: np.ndarray,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]] | None,
        load: Callable[[], np.ndarray],
        probabilities: np.ndarray | None = None,
    ) -> None:
        super().__init__(classes, label.shape, load)
        self.probabilities = probabilities
        self.label = label
        self.palette = [tuple(color) for color in palette or palette_of(len(self.classes))]

    def areas(self) -> dict[str, int]:
        """Return the number of pixels of every class."""
        counts = np.bincount(self.label.ravel(), minlength=len(self.classes)).tolist()
        return dict(zip(self.classes, counts, strict=False))

    def to_json(self) -> dict[str, Any]:
        """Return size and pixels per class; the map itself is :attr:`label`."""
        return dict(size=list(self.size), pixels=self.areas())

    def color(self) -> np.ndarray:
        """Return the classes' colors, uint8 RGB (H, W, 3)."""
        return colorize(self.label, self.palette)

    def draw(self) -> np.ndarray:
        """Lay the classes' colors over the picture, with their borders and names."""
        return name_regions(tint(self.picture, self.label, self.palette), self.label, self.classes)
