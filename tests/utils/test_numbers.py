import pytest

from mmopt.utils.numbers import is_number, is_whole


@pytest.mark.parametrize(
    ('value', 'whole', 'number'),
    [(3, True, True), (-1, True, True), (2.0, False, True), (float('nan'), False, True), (True, False, False),
     (False, False, False), ('3', False, False), (None, False, False)],
)  # fmt: skip
def test_a_bool_is_no_number(value, whole, number):
    assert (is_whole(value), is_number(value)) == (whole, number)
