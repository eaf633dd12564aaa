"""Files that are there whole or not at all."""

import pytest

from mmopt.utils.whole_file import whole_file, write_whole


def test_a_file_appears_when_it_is_whole_and_its_folder_is_made(tmp_path):
    path = tmp_path / 'new' / 'a.txt'
    with whole_file(path) as unfinished:
        unfinished.write_text('half')
        assert not path.exists()
        assert unfinished.suffix == '.txt'
    assert path.read_text() == 'half'
    write_whole(path, 'ä')
    assert path.read_text(encoding='utf-8') == 'ä'
    assert [item.name for item in path.parent.iterdir()] == ['a.txt']


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / 'a.txt'
    path.write_text('old')
    with pytest.raises(TypeError):
        write_whole(path, 5)  # what is no text cannot be written
    assert path.read_text() == 'old'
    assert [item.name for item in tmp_path.iterdir()] == ['a.txt']
