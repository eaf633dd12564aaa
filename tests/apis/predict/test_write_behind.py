"""Writing while something else is computed."""

import threading

import pytest

from mmopt.apis.predict.write_behind import WriteBehind


def test_a_batch_is_written_while_the_next_one_is_made():
    go_on, noted = threading.Event(), []

    def write(item, result):
        assert go_on.wait(5)

    with WriteBehind(write, lambda item, result: noted.append(item)) as behind:
        behind.put([('a', 1), ('b', 2)])  # does not wait for the writing
        assert noted == []
        go_on.set()
        behind.put([('c', 3)])
        assert noted == ['a', 'b']
    assert noted == ['a', 'b', 'c']


def test_a_file_that_cannot_be_written_is_an_error_and_its_picture_is_not_done():
    noted = []

    def write(item, result):
        if item == 'b':
            raise OSError('No space left on device')

    with (
        pytest.raises(OSError, match='No space left'),
        WriteBehind(write, lambda item, result: noted.append(item)) as behind,
    ):
        behind.put([('a', 1), ('b', 2), ('c', 3)])
    assert noted == ['a']


def test_what_is_being_written_when_ctrl_c_comes_is_done():
    noted = []

    def interrupted() -> None:
        with WriteBehind(lambda item, result: None, lambda item, result: noted.append(item)) as behind:
            behind.put([('a', 1), ('b', 2)])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert noted == ['a', 'b']
