"""Maps of the ground: label images as the training reads them, pictures in meters, areas."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.apis.predict.formats.writers import JSON, MP4, Format, Records, draw_result, write_picture, write_table
from mmopt.datasets.bev.predict.result import BEVResult

__all__ = ['FORMATS', 'TASK']

TASK = BEVResult.task


def _write_bits(result: Any, path: Path) -> None:
    """Write the label image, 16 bits, in the layout of the data set: bit c is class c, the first row is the nearest."""
    write_picture(path, result.bits)


def _write_probabilities(result: Any, path: Path) -> None:
    """Write ``probabilities``, float16 (classes, rows, columns), the names of the classes and the camera matrix."""
    with path.open('wb') as file:
        np.savez_compressed(
            file,
            probabilities=result.probabilities,
            classes=np.array(result.classes),
            intrinsics=result.intrinsics,
        )


def _gather_areas(records: Records, classes: Sequence[str], path: Path) -> None:
    def rows_of(found: Mapping[str, Any]) -> Iterator[Sequence[Any]]:
        for name in classes:
            yield name, found['cells'][name], found['areas_m2'][name]

    write_table(path, ('class', 'cells', 'square_meters'), records, rows_of)


FORMATS: dict[str, Any] = dict(
    json=JSON,
    csv=Format('areas.csv', gather=_gather_areas),
    png=Format('labels/{name}.png', _write_bits),
    overlay=Format('pictures/{name}.png', draw_result, is_drawing=True),
    npz=Format('probabilities/{name}.npz', _write_probabilities, default=False, needs='keep_probabilities'),
    mp4=MP4,
)
"""Formats of maps ahead of a camera."""
