"""Text in pictures, uint8 RGB arrays (H, W, 3)."""

import threading
from functools import lru_cache
from pathlib import Path

import numpy as np

__all__ = ['shorten', 'text_size', 'write_text']


def _font(size: int, bold: bool):
    return _font_of_thread(size, bold, threading.get_ident())


@lru_cache(64)
def _font_of_thread(size: int, bold: bool, thread: int):
    # FreeType's faces may not be used by two threads at once, and predictions are drawn in several.
    del thread
    # Pillow and DejaVu come with matplotlib, which we require; OpenCV's stroke fonts are hard to read when small.
    import matplotlib
    from PIL import ImageFont

    name = 'DejaVuSans-Bold.ttf' if bold else 'DejaVuSans.ttf'
    return ImageFont.truetype(str(Path(matplotlib.get_data_path()) / 'fonts' / 'ttf' / name), size)


def text_size(text: str, size: int = 15, *, bold: bool = False) -> tuple[int, int]:
    """Measure a line of text as (width, height) in pixels."""
    left, top, right, bottom = _font(size, bold).getbbox(text)
    return int(right - left), int(bottom - top)


def write_text(
    picture: np.ndarray,
    text: str,
    left: int,
    top: int,
    *,
    size: int = 15,
    color: tuple[int, int, int] = (235, 235, 235),
    bold: bool = False,
) -> None:
    """Write one line of text into a picture, in place.

    Args:
        picture: uint8 (H, W, 3), contiguous.
        text: The line.
        left: Column of its left edge.
        top: Row of the font's ascender line.
        size: Font size in pixels.
        color: RGB.
        bold: Use the bold face.
    """
    from PIL import Image, ImageDraw

    # Only the band of rows that the text touches goes through Pillow.
    band = slice(max(top, 0), max(min(top + 2 * size, picture.shape[0]), 0))
    if band.start >= band.stop:
        return
    part = Image.fromarray(np.ascontiguousarray(picture[band]))
    ImageDraw.Draw(part).text((left, top - band.start), text, font=_font(size, bold), fill=color)
    picture[band] = np.asarray(part)


def shorten(text: str, width: int, size: int = 15) -> str:
    """Cut a line of text that is wider than so many pixels, with an ellipsis at its end."""
    if text_size(text, size)[0] <= width:
        return text
    while text and text_size(f'{text}\u2026', size)[0] > width:
        text = text[:-1]
    return f'{text}\u2026'
