import io

import pytest

from mmopt.utils.terminal import columns, nearest, number, paint, rows, seconds


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_color_is_for_terminals_only(monkeypatch):
    monkeypatch.delenv('NO_COLOR', raising=False)
    assert paint('x', 'red', io.StringIO()) == 'x'
    assert paint('x', 'red', Terminal()) == '\033[31mx\033[0m'


def test_no_color_is_respected_on_a_terminal(monkeypatch):
    monkeypatch.setenv('NO_COLOR', '1')
    assert paint('x', 'red', Terminal()) == 'x'


def test_values_align_and_their_further_lines_stand_below():
    assert rows([('a', '1'), ('long', '2\n3')]) == '  a     1\n  long  2\n        3'


def test_columns_read_from_the_top_down():
    assert columns(['a', 'b', 'c', 'd', 'e'], width=12, gap=3, indent=0) == 'a   c   e\nb   d'


@pytest.mark.parametrize(
    ('value', 'text'),
    [(0.25, '0.25 s'), (12.34, '12.3 s'), (245, '4 min 05 s'), (7620, '2 h 07 min'), (273600, '3 d 04 h')],
)
def test_durations(value, text):
    assert seconds(value) == text


@pytest.mark.parametrize(('value', 'text'), [(28130, '28,130'), (2.0, '2'), (0.123456, '0.1235'), (1e-5, '1e-05')])
def test_numbers(value, text):
    assert number(value) == text


@pytest.mark.parametrize(
    ('value', 'digits', 'text'),
    [(13689.4, 4, '13,689'), (7594.2, 4, '7,594'), (759.42, 4, '759.4'), (1137.6, 3, '1,138'), (150.3, 2, '150')],
)
def test_large_numbers_have_no_exponent(value, digits, text):
    assert number(value, digits) == text


def test_the_nearest_name_is_found_whatever_its_case():
    assert nearest('adamw', ['AdamW', 'SGD']) == ['AdamW']
    assert nearest('zzz', ['AdamW', 'SGD']) == []
