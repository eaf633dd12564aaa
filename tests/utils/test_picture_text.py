import numpy as np

from mmopt.utils.picture_text import shorten, text_size, write_text


def test_a_line_that_is_too_wide_ends_with_an_ellipsis():
    text = 'rat_with_a_long_name > größe'
    assert shorten(text, 1000) == text
    short = shorten(text, 80)
    assert short.endswith('\u2026')
    assert text.startswith(short[:-1])
    assert text_size(short)[0] <= 80 < text_size(text)[0]


def test_text_stays_where_it_is_written():
    picture = np.zeros((40, 200, 3), np.uint8)
    write_text(picture, 'größe', 20, 10, color=(255, 0, 0))
    rows, columns = np.nonzero(picture[..., 0])
    assert rows.min() >= 10 and rows.max() < 10 + 2 * 15  # noqa: PT018 - one band
    assert columns.min() >= 20
    assert not picture[..., 1:].any()
