"""How a decoded frame has to be turned before it is looked at: phones film lying down and note it in the file.

The note is a display matrix (MP4's ``tkhd``, FFmpeg's ``libavutil/display.h``): nine numbers
(a, b, u, c, d, v, x, y, w) that move a stored pixel's column p and row q to column a * p + c * q and row
b * p + d * q, plus a shift.
"""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from mmopt.utils.errors import DataError

__all__ = ['Orientation']


@dataclass(frozen=True)
class Orientation:
    """Quarter turns and mirrorings: rows and columns are swapped first, then flipped.

    Attributes:
        swap: Whether rows become columns.
        flip_rows: Whether the result is turned upside down.
        flip_columns: Whether the result is mirrored.
    """

    swap: bool = False
    flip_rows: bool = False
    flip_columns: bool = False

    @classmethod
    def of_frame(cls, frame: Any, path: str | Path) -> Self:
        """Read what a decoded frame carries.

        Args:
            frame: PyAV's.
            path: Its video, for the message.

        Returns:
            The orientation; as it is, where nothing is noted.

        Raises:
            DataError: If the turn is none of a multiple of 90 degrees.
        """
        note = frame.side_data.get('DISPLAYMATRIX')
        if note is None:
            return cls()
        a, b, _, c, d = np.frombuffer(bytes(note), dtype=np.int32)[:5].tolist()
        # Sine and cosine of a quarter turn may be off by a rounding.
        nothing = max(map(abs, (a, b, c, d))) / 1000
        straight, turned = min(abs(a), abs(d)), min(abs(b), abs(c))
        if straight > nothing and max(abs(b), abs(c)) <= nothing:
            return cls(flip_rows=d < 0, flip_columns=a < 0)
        if turned > nothing and max(abs(a), abs(d)) <= nothing:
            return cls(swap=True, flip_rows=b < 0, flip_columns=c < 0)
        raise DataError(
            f'{path}: the file asks to be shown turned by {math.degrees(math.atan2(b, a)):.0f} degrees clockwise '
            f'(display matrix {a}, {b}, {c}, {d}); only multiples of 90 are possible. `ffmpeg -i IN OUT.mp4` writes '
            'the frames as they are shown.'
        )

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of shown frames from those of stored ones, or the other way round."""
        return (width, height) if self.swap else (height, width)

    def apply(self, image_HW3: np.ndarray) -> np.ndarray:
        """Turn a stored picture; the result is a view."""
        if self.swap:
            image_HW3 = image_HW3.transpose(1, 0, 2)
        return image_HW3[:: -1 if self.flip_rows else 1, :: -1 if self.flip_columns else 1]
