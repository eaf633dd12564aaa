"""COCO jsons as people have them: cleaned and counted, or refused with the entry."""

import json

import numpy as np
import pytest

from mmopt.datasets.detection.coco_file import read_coco
from mmopt.utils.errors import DataError


@pytest.fixture
def read(tmp_path):
    """Read a json of two images of 64x96 and one box, with changes: ``read(lambda coco: ..., 'xyxy')``."""

    def _read(change=lambda coco: None, bbox_format=None):
        sizes = dict(height=64, width=96)
        coco = dict(
            images=[dict(id=1, file_name='a.jpg', **sizes), dict(id=2, file_name='b.jpg', **sizes)],
            annotations=[dict(id=7, image_id=1, category_id=1, bbox=[10, 10, 20, 30], area=600, iscrowd=0)],
            categories=[dict(id=1, name='drone')],
        )
        change(coco)
        (tmp_path / 'a.json').write_text(json.dumps(coco))
        return read_coco(tmp_path / 'a.json', bbox_format)

    return _read


def change_box(**changes):
    return lambda coco: coco['annotations'][0].update(changes)


def change_image(**changes):
    return lambda coco: coco['images'][0].update(changes)


def categories(*items):
    return lambda coco: coco.update(categories=[dict(id=key, name=name, **more) for key, name, more in items])


BOX = [10, 10, 30, 40, 0, 0]


def test_a_plain_file_has_no_notes(read):
    found = read()
    assert (found.classes, found.notes) == (('drone',), ())
    assert found.images[0].boxes_M6.tolist() == [BOX]
    assert (found.images[0].size, found.images[1].boxes_M6.shape) == ((64, 96), (0, 6))


GROUP = categories((0, 'drones', dict(supercategory='none')), (1, 'drone', dict(supercategory='drones')))


@pytest.mark.parametrize(
    ('change', 'note', 'crowd'),
    [
        (change_box(iscrowd=None), None, 0),
        (change_box(iscrowd='false'), '1 times iscrowd is no number.', 0),
        (change_box(iscrowd=True), '1 times iscrowd is no number.', 1),
        (change_box(iscrowd='1'), '1 times iscrowd is no number.', 1),
        (change_box(bbox=['10', '10.0', 20, 30]), '2 numbers are written as text.', 0),
        (change_box(image_id='1', category_id='1'), None, 0),
        (change_image(height='64', width='96'), '2 numbers are written as text.', 0),
        (change_image(height=64.0), None, 0),
        (categories(('1', 'drone', {})), None, 0),
        (GROUP, "1 category, 'drones' with id 0, is the name of a group and has no box: it is no class.", 0),
        (categories((1, 'drone', {}), (5, 'drone', {})), '1 categories have the name of another one', 0),
    ],
)
def test_what_is_unambiguous_is_read_and_counted(read, change, note, crowd):
    found = read(change)
    assert found.images[0].boxes_M6.tolist() == [[*BOX[:5], crowd]]
    assert (found.classes, found.images[0].size) == (('drone',), (64, 96))
    assert note is None or any(line.startswith(note) for line in found.notes)


def add_box(**changes):
    return lambda coco: coco['annotations'].append(coco['annotations'][0] | changes)


@pytest.mark.parametrize(
    ('changes', 'boxes', 'notes'),
    [
        ({}, (1, 0), ('1 annotations are there twice and count once, the first: annotation 7.',)),
        (dict(id='7', bbox=[10.0, 10, 20, 30]), (1, 0), ('1 annotations are there twice and count once',)),
        (
            dict(image_id=2),
            (1, 1),
            ('1 annotations have the id of one of another image and count as well, the first: annotation 7.',),
        ),
        (dict(id=8), (2, 0), ()),
        (dict(id=None), (2, 0), ()),
    ],
)
def test_annotations_of_one_id_are_counted_and_equal_ones_taken_once(read, changes, boxes, notes):
    found = read(add_box(**changes))
    assert tuple(len(image.boxes_M6) for image in found.images) == boxes
    assert len(found.notes) == len(notes)
    assert all(got.startswith(note) for got, note in zip(found.notes, notes, strict=True))


def test_a_category_0_that_has_boxes_is_a_class(read):
    def first(coco):
        GROUP(coco)
        coco['annotations'][0]['category_id'] = 0

    assert read(first).classes == ('drones', 'drone')
    assert read(categories((0, 'bird', {}), (1, 'drone', {}))).classes == ('bird', 'drone')


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (change_box(iscrowd='maybe'), "annotation 7: iscrowd is 'maybe', it must be 0 or 1"),
        (change_box(iscrowd=2), 'annotation 7: iscrowd is 2, it must be 0 or 1'),
        (change_box(iscrowd=[0]), r'annotation 7: iscrowd is \[0\], it must be 0 or 1'),
        (change_box(bbox=[10, 10, 'wide', 30]), "annotation 7: bbox is 'wide', it must be a number"),
        (change_box(bbox=None), 'annotation 7: bbox must be four numbers, .* is None'),
        (
            change_box(bbox=[0.1, 0.1, 0.3, 0.3]),
            'annotation 7: no coordinate of the 1 boxes exceeds 1, .* shares of the',
        ),
        (change_box(bbox=[50, 20, 90, 60]), "annotation 7: 1 of 1 boxes reach out .* Say bbox_format='xyxy'"),
        (change_box(bbox=[30, 20, -10, 20]), 'annotation 7: bbox .* has a negative width or height'),
        (
            add_box(bbox=[11, 10, 20, 30]),
            r'annotation 7: two annotations of image 1 have this id and differ: bbox \[10, 10, 20, 30\] and \[11, 10',
        ),
        (add_box(iscrowd=1), 'annotation 7: two annotations of image 1 have this id and differ'),
        (change_box(category_id=2), 'annotation 7: category 2 of image 1: one of them is not listed'),
        (change_image(file_name=None), 'image 1: file_name is None, it must be the path of a picture'),
        (change_image(file_name=''), "image 1: file_name is '', it must be the path of a picture"),
        (change_image(height='tall'), "image 1: height is 'tall', it must be a number"),
        (change_image(width=0), 'image 1: width is 0, it must be a whole number of pixels'),
        (change_image(id='2'), 'image 2: two images have this id'),
        (lambda coco: coco.update(annotations=None), 'annotations: it must be a list, is null'),
        (lambda coco: coco.update(images={'1': 'a.jpg'}), 'images: it must be a list'),
        (lambda coco: coco['categories'][0].update(name=None), 'category 1: name is None, it must be a text'),
        (categories((1, 'a', {}), (1, 'b', {})), "category 1: two categories have this id: 'a' and 'b'"),
        (categories((1, 'a', {}), ('two', 'b', {})), "category 'two': its id is a text, those of others are numbers"),
    ],
)
def test_what_is_ambiguous_is_refused_with_its_entry(read, change, message):
    with pytest.raises(DataError, match=f'a.json: {message}'):
        read(change)


def test_corners_are_read_where_the_config_says_so(read):
    corners = change_box(bbox=[50, 20, 90, 60])
    np.testing.assert_array_equal(read(corners, 'xyxy').images[0].boxes_M6[0, :4], [50, 20, 90, 60])
    np.testing.assert_array_equal(read(corners, 'xywh').images[0].boxes_M6[0, :4], [50, 20, 140, 80])
    with pytest.raises(DataError, match='has a negative width or height'):
        read(change_box(bbox=[50, 20, 10, 60]), 'xyxy')


@pytest.mark.parametrize(
    'name', ['iscrowd_null', 'size_str', 'category_id0_super', 'no_annotations_at_all', 'file_absent']
)
def test_files_of_others_are_read(shared_dir, name):
    assert len(read_coco(shared_dir / 'cases' / 'coco' / f'{name}.json').classes) == 1


@pytest.mark.parametrize(
    'name', ['annotations_null', 'bbox_normalised', 'category_dup_id', 'category_mixed_ids', 'file_null']
)
def test_files_of_others_are_refused(shared_dir, name):
    with pytest.raises(DataError, match=f'{name}.json: (annotations|annotation 1|category 1|category .2.|image 1): '):
        read_coco(shared_dir / 'cases' / 'coco' / f'{name}.json')
