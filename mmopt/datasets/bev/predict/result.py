"""The map that was found ahead of one picture.

Shape letters: C = 14 classes, Z rows (nearest first), X columns (leftmost first).
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmopt.datasets.bev.pictures import CELL_M, NEAREST_M, draw_bev_sample
from mmopt.datasets.common.predict import Result
from mmopt.ops.bev_labels import IGNORE_BIT, decode_label_bits
from mmopt.structures import DataSample

__all__ = ['BEVResult']


class BEVResult(Result):
    """Classes of the ground ahead of a camera: x from -25 m, z from 1 m, cells of 0.25 m.

    Args:
        bits: uint16 (Z, X): bit c is class c; the file that is written has them as they are.
        intrinsics: float32 (3, 3) of the picture.
        probabilities: float16 (C, Z, X); None where nobody asked for them.
        classes: Names, by class number.
        palette: Red, green and blue, by class number.
        size: Height and width of the picture.
        title: Name of the picture.
        load: Reads the picture.
    """

    task = "bird's-eye-view segmentation"

    def __init__(
        self,
        bits: np.ndarray,
        intrinsics: np.ndarray,
        probabilities: np.ndarray | None,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        *,
        size: Sequence[int],
        title: str,
        load: Callable[[], np.ndarray],
    ) -> None:
        super().__init__(classes, size, load)
        self.bits = bits
        self.intrinsics = intrinsics
        self.probabilities = probabilities
        self.palette = palette
        self.title = title

    @classmethod
    def of_sample(
        cls,
        sample: DataSample,
        intrinsics: np.ndarray,
        classes: Sequence[str],
        palette: Sequence[Sequence[int]],
        load: Callable[[], np.ndarray],
    ) -> 'BEVResult':
        """Take the predictions of a sample."""
        probability = sample.get('pred_probability')
        path = sample.get('img_path') or ''
        return cls(
            sample.get('pred_bits').cpu().numpy().astype(np.uint16),
            intrinsics,
            None if probability is None else probability.cpu().numpy(),
            classes,
            palette,
            size=sample.get('ori_shape')[:2],
            title=Path(path).stem or 'picture',
            load=load,
        )

    @property
    def maps(self) -> np.ndarray:
        """A map per class, bool (C, Z, X)."""
        return decode_label_bits(torch.from_numpy(self.bits.astype(np.int32)))[:IGNORE_BIT].numpy()

    def in_view(self) -> np.ndarray:
        """Return the cells that the picture can show, bool (Z, X): of others the model only knows what is usual."""
        num_rows, num_columns = self.bits.shape
        z_Z1 = NEAREST_M + CELL_M * np.arange(num_rows)[:, None]
        x_X = CELL_M * (np.arange(num_columns) - num_columns / 2)
        column_ZX = self.intrinsics[0, 0] * x_X / z_Z1 + self.intrinsics[0, 2]
        return (column_ZX >= 0) & (column_ZX < self.size[1])

    def cells(self) -> dict[str, int]:
        """Return the number of cells of every class that are in view."""
        return dict(zip(self.classes, (self.maps & self.in_view()).sum(axis=(1, 2)).tolist(), strict=True))

    def areas_m2(self) -> dict[str, float]:
        """Return the square meters of every class that are in view."""
        return {name: count * CELL_M**2 for name, count in self.cells().items()}

    def to_json(self) -> dict[str, Any]:
        """Return the picture's size and camera matrix, and cells and square meters per class; the map is ``bits``."""
        return dict(
            size=list(self.size),
            intrinsics=self.intrinsics.astype(float).tolist(),
            cells=self.cells(),
            areas_m2=self.areas_m2(),
        )

    def draw(self) -> np.ndarray:
        """Draw the picture, and beside it the map with the car and a scale."""
        return draw_bev_sample(
            self.picture, None, self.in_view(), self.maps, title=self.title, classes=self.classes,
            palette=self.palette, hidden='outside of the view',
        )  # fmt: skip
