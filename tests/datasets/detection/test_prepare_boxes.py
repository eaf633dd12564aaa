"""YOLO and Pascal VOC folders become COCO jsons that the data set reads."""

import json
import shutil

import cv2
import numpy as np
import pytest

from mmopt.datasets.detection import CocoDataset
from mmopt.datasets.detection.prepare.boxes import prepare_boxes
from mmopt.utils.errors import DataError, DataNotFoundError


def picture(path, height=40, width=80):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


@pytest.fixture
def yolo(tmp_path):
    """Two pictures to train on, one to evaluate on: Ultralytics' layout."""
    root = tmp_path / 'my data'
    texts = {'train/a': '1 0.5 0.5 0.25 0.5\n0 0.125 0.25 0.25 0.5\n', 'train/sub/b': '', 'val/c': '0 0.5 0.5 1 1\n'}
    for name, text in texts.items():
        picture(root / 'images' / f'{name}.png')
        label = root / 'labels' / f'{name}.txt'
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text(text)
    (root / 'data.yaml').write_text('path: .\ntrain: images/train\nval: images/val\nnames: {0: cat, 1: dog}\n')
    return root


def boxes(path) -> dict[str, list]:
    """File name -> class, bbox and crowd of each box."""
    coco = json.loads(path.read_text())
    names = {item['id']: item['name'] for item in coco['categories']}
    found: dict[str, list] = {image['file_name']: [] for image in coco['images']}
    by_id = {image['id']: image['file_name'] for image in coco['images']}
    for item in coco['annotations']:
        found[by_id[item['image_id']]].append((names[item['category_id']], item['bbox'], item['iscrowd']))
    return found


def test_yolo_boxes_are_in_pixels_and_pictures_stay_where_they_are(yolo):
    report = prepare_boxes(yolo, num_workers=2)
    assert report.classes == ('cat', 'dog')
    assert {split: (images, count) for split, (_, images, count) in report.files.items()} == dict(
        train=(2, 2), val=(1, 1)
    )
    assert boxes(yolo / 'annotations' / 'train.json') == {
        'images/train/a.png': [('dog', [30, 10, 20, 20], 0), ('cat', [0, 0, 20, 20], 0)],
        'images/train/sub/b.png': [],
    }
    dataset = CocoDataset('annotations/train.json', data_root=str(yolo), pipeline=[dict(type='LoadImageFromFile')])
    assert dataset[0]['img'].shape == (40, 80, 3)
    assert dataset.get_data_info(0)['boxes'].tolist() == [[30, 10, 50, 30], [0, 0, 20, 20]]


def test_yolo_as_roboflow_exports_it(yolo, tmp_path):
    root = tmp_path / 'roboflow'
    for split, source in dict(train='train', valid='val').items():
        for kind in ('images', 'labels'):
            shutil.copytree(yolo / kind / source, root / split / kind)
    (root / 'data.yaml').write_text("train: ../train/images\nval: ../valid/images\nnc: 2\nnames: ['cat', 'dog']\n")
    assert prepare_boxes(root).files['val'][1:] == (1, 1)
    (root / 'data.yaml').unlink()
    report = prepare_boxes(root, classes=['cat', 'dog'])
    assert [report.files[split][1:] for split in ('train', 'val')] == [(2, 2), (1, 1)]


def test_yolo_splits_as_lists_and_polygons(yolo):
    (yolo / 'train.txt').write_text('images/train/a.png\n')
    (yolo / 'data.yaml').write_text('train: train.txt\nnames: [cat, dog]\n')
    (yolo / 'labels' / 'train' / 'a.txt').write_text('1 0.25 0.5 0.5 0.25 0.5 0.75 0.25 0.75\n')
    report = prepare_boxes(yolo)
    assert boxes(report.files['train'][0]) == {'images/train/a.png': [('dog', [20, 10, 20, 20], 0)]}
    assert '1 polygons became the boxes around them.' in str(report)


def test_a_picture_without_a_label_file_has_nothing_on_it_and_is_counted(yolo):
    (yolo / 'labels' / 'train' / 'sub' / 'b.txt').unlink()
    report = prepare_boxes(yolo)
    assert report.files['train'][1:] == (2, 2)
    assert '1 pictures have no label file: nothing is on them.' in str(report)


@pytest.mark.parametrize(
    ('text', 'message'),
    [
        ('2 0.5 0.5 0.1 0.1', r'a.txt:1: class 2, but there are 2 names: cat, dog'),
        ('0 20 30 10 10', r'a.txt:1: .* is not in shares of the picture'),
        ('0 0.5 0.5 0.1', r'a.txt:1: 4 numbers: expected class, x, y, width, height, or a polygon'),
        ('cat 0.5 0.5 0.1 0.1', r"a.txt:1: could not convert string to float: 'cat'"),
        ('0 0.5 nan 0.1 0.1', r'a.txt:1: .* is not in shares'),
    ],
)
def test_a_broken_line_is_named(yolo, text, message):
    (yolo / 'labels' / 'train' / 'a.txt').write_text(text)
    with pytest.raises(DataError, match=message):
        prepare_boxes(yolo)


def test_folders_without_anything_to_learn_are_refused(yolo, tmp_path):
    with pytest.raises(DataNotFoundError, match='nowhere does not exist'):
        prepare_boxes(tmp_path / 'nowhere')
    shutil.rmtree(yolo / 'labels')
    with pytest.raises(DataError, match='no box in 3 pictures: nothing to learn'):
        prepare_boxes(yolo)
    (yolo / 'data.yaml').write_text('train: images/none\nnames: [cat]\n')
    with pytest.raises(DataNotFoundError, match='images/none does not exist, which the data.yaml names'):
        prepare_boxes(yolo)
    (yolo / 'data.yaml').write_text('train: [')
    with pytest.raises(DataError, match=r'data.yaml: not readable as YAML'):
        prepare_boxes(yolo)
    (tmp_path / 'empty').mkdir()
    with pytest.raises(DataError, match=r'neither a data.yaml with names nor a folder Annotations .* --classes NAME'):
        prepare_boxes(tmp_path / 'empty')
    with pytest.raises(DataError, match='empty: no picture found'):
        prepare_boxes(tmp_path / 'empty', classes=['cat'])


OBJECT = '<object><name>{}</name><difficult>{}</difficult><bndbox>{}</bndbox></object>'
BOUNDS = '<xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>15</ymax>'


@pytest.fixture
def voc(tmp_path):
    root = tmp_path / 'voc'
    (root / 'Annotations').mkdir(parents=True)
    things = dict(
        a=OBJECT.format('dog', 0, BOUNDS) + OBJECT.format('cat', 1, BOUNDS), b='', c=OBJECT.format('dog', 0, BOUNDS)
    )
    for name, text in things.items():
        picture(root / 'JPEGImages' / f'{name}.jpg')
        xml = f'<annotation><size><width>80</width><height>40</height></size>{text}</annotation>'
        (root / 'Annotations' / f'{name}.xml').write_text(xml)
    return root


def test_voc_counts_pixels_from_1_and_difficult_objects_neither_way(voc):
    report = prepare_boxes(voc)
    assert report.classes == ('cat', 'dog')
    assert boxes(report.files['train'][0]) == {
        'JPEGImages/a.jpg': [('dog', [10, 5, 20, 10], 0), ('cat', [10, 5, 20, 10], 1)],
        'JPEGImages/b.jpg': [],
        'JPEGImages/c.jpg': [('dog', [10, 5, 20, 10], 0)],
    }


def test_voc_splits_and_chosen_classes(voc):
    (voc / 'ImageSets' / 'Main').mkdir(parents=True)
    for split, names in dict(train='a\n', val='b\nc\n', trainval='a\nb\nc\n').items():
        (voc / 'ImageSets' / 'Main' / f'{split}.txt').write_text(names)
    report = prepare_boxes(voc, classes=['dog'])
    assert {split: counts[1:] for split, counts in report.files.items()} == dict(train=(1, 1), val=(2, 1))
    assert "1 objects 'cat' are of no chosen class." in str(report)


@pytest.mark.parametrize(
    ('old', 'new', 'error', 'message'),
    [
        ('<xmax>30', '<xmax>3', DataError, 'a.xml: dog: the corners 11, 6 and 3, 15 are in no order'),
        ('<xmax>30</xmax>', '', DataError, 'a.xml: bndbox: xmax is None, it must be a number'),
        ('<name>dog</name>', '', DataError, 'a.xml: an object lacks its name or bndbox'),
        ('<width>80', '<width>90', DataError, 'a.xml: the picture is 40x80, the xml says 40x90'),
        ('</annotation>', '', DataError, 'a.xml: not readable as XML'),
    ],
)
def test_a_broken_xml_is_named(voc, old, new, error, message):
    path = voc / 'Annotations' / 'a.xml'
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(error, match=message):
        prepare_boxes(voc)
    (voc / 'JPEGImages' / 'a.jpg').unlink()
    with pytest.raises(DataNotFoundError, match=r'a.xml: no picture a.jpg'):
        prepare_boxes(voc)


def test_a_set_that_trains_and_evaluates_on_one_folder_has_both_and_is_told(tmp_path):
    """As the small sets that come with YOLO do: the pictures of both splits are the same files."""
    for folder in ('images', 'labels'):
        (tmp_path / folder).mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'a.jpg'), np.zeros((48, 64, 3), np.uint8))
    (tmp_path / 'labels' / 'a.txt').write_text('1 0.5 0.5 0.2 0.2\n')
    (tmp_path / 'data.yaml').write_text('names: [car, bus]\ntrain: images\nval: images\n')
    report = prepare_boxes(tmp_path)
    assert {split: counts[1:] for split, counts in report.files.items()} == dict(train=(1, 1), val=(1, 1))
    assert '1 pictures are in several splits' in str(report)
