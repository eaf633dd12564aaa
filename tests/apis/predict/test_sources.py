"""Everything that can be named as a source."""

import cv2
import numpy as np
import pytest

from mmopt.apis.predict.sources import list_items
from mmopt.utils.errors import UserError

NAMES = ('a b.jpg', 'größe 猫.PNG', 'x[1].png', 'sub/deeper/c.jpeg', 'sub/{name}.bmp', '100%.webp')


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / 'my pictures é'
    for name in NAMES:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _, encoded = cv2.imencode(path.suffix.lower(), np.zeros((4, 5, 3), np.uint8))
        path.write_bytes(encoded.tobytes())
    (root / 'notes.md').write_text('no picture')
    (root / '.hidden.png').write_bytes(b'')
    (root / '.thumbs').mkdir()
    (root / '.thumbs' / 'a.png').write_bytes(b'')
    return root


def test_a_folder_gives_its_pictures_and_those_of_subfolders(folder):
    items = list_items([str(folder)])
    assert {item.source for item in items} == {str(folder / name) for name in NAMES}
    assert {item.name for item in items} == {name.rpartition('.')[0] for name in NAMES}
    assert [item.source for item in items] == [item.source for item in list_items([folder])]


def test_a_pattern_gives_what_fits_it(folder):
    assert [item.name for item in list_items([str(folder / '**' / '*.jp*g')])] == ['a b', 'sub/deeper/c']
    assert [item.name for item in list_items([str(folder / 'sub' / '*.bmp')])] == ['{name}']


def test_a_file_with_a_bracket_in_its_name_is_no_pattern(folder):
    (item,) = list_items([str(folder / 'x[1].png')])
    assert (item.source, item.name) == (str(folder / 'x[1].png'), 'x[1]')


def test_a_list_counts_from_its_folder_or_from_the_working_folder(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = folder / 'list.txt'
    here = f'{folder.name}/sub/deeper/c.jpeg'
    text.write_text(f'\ufeffa b.jpg\r\n\n  größe 猫.PNG\n{here}\n{folder / "100%.webp"}\ngone.png\n', encoding='utf-8')
    items = list_items([str(text)])
    assert [item.source for item in items] == [
        str(folder / 'a b.jpg'), str(folder / 'größe 猫.PNG'), here, str(folder / '100%.webp'), str(folder / 'gone.png')
    ]  # fmt: skip


def test_what_is_named_twice_is_predicted_once(folder):
    assert len(list_items([str(folder), str(folder / 'a b.jpg'), str(folder / 'sub')])) == len(NAMES)


def test_the_output_folder_is_no_source(folder):
    items = list_items([str(folder)], without=folder / 'sub')
    assert len(items) == len(NAMES) - 2


def test_a_source_inside_the_output_is_refused(folder):
    for source in (folder, folder / 'a b.jpg', folder / '*.png'):
        with pytest.raises(UserError, match='all of its pictures lie in the output folder'):
            list_items([source], without=folder)


def test_equal_names_are_told_apart_also_without_capitals(folder, tmp_path):
    other = tmp_path / 'other'
    other.mkdir()
    for name in ('A B.png', 'a b.bmp', 'a b.jpg'):
        (other / name).write_bytes(b'x')
    names = [item.name for item in list_items([str(folder / 'a b.jpg'), str(other)])]
    assert names[0] == 'a b'
    assert len({name.casefold() for name in names}) == len(names) == 4


def test_arrays_have_numbers_for_names():
    items = list_items([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2), np.uint8)])
    assert [item.file for item in items] == ['array_000000', 'array_000001']


@pytest.mark.parametrize(
    ('source', 'match'),
    [
        ('empty', 'neither the folder nor its subfolders hold a picture'),
        ('empty/*.png', 'no picture .* has such a name'),
        ('empty.txt', 'the list names no picture'),
        ('missing/%06d.png', 'folder of the source .*missing does not exist'),
        ('empty/%06d.png', 'no file has such a name with a number'),
        ('latin.txt', 'a list is a text in UTF-8'),
        ('no_such.jpg', 'source .*no_such.jpg does not exist'),
        (None, 'There is no source'),
    ],
)
def test_an_empty_or_wrong_source_is_one_line(tmp_path, source, match):
    (tmp_path / 'empty').mkdir()
    (tmp_path / 'empty.txt').write_text('\n\n')
    (tmp_path / 'latin.txt').write_bytes('größe.png'.encode('latin-1'))
    with pytest.raises(UserError, match=match) as caught:
        list_items([] if source is None else [str(tmp_path / source)])
    assert '\n' not in str(caught.value)
