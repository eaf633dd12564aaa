"""The Cityscapes demo: layout, agreement of picture and label, restart."""

import cv2
import numpy as np
import pytest

from mmopt.datasets.common.street import Camera, render, sample_world
from mmopt.datasets.common.street.items import Item
from mmopt.datasets.common.street.render import World
from mmopt.datasets.common.street.solids import box
from mmopt.datasets.segmentation import CityscapesDataset
from mmopt.datasets.segmentation.demo import make_demo
from mmopt.datasets.segmentation.demo.labels import ITEM_IDS, RIDER, draw_label_ids
from mmopt.utils.errors import UserError

SIZE = (144, 256)
LOAD = [dict(type='LoadImageFromFile'), dict(type='LoadSegmentationLabel'), dict(type='PackInputs')]


@pytest.fixture(scope='module')
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp('demo') / 'cityscapes'
    make_demo(root, num_train=2, num_val=1, image_size=SIZE)
    return root


def test_it_is_in_the_layout_that_the_data_set_reads(made):
    for split, count in (('train', 2), ('val', 1)):
        dataset = CityscapesDataset(str(made), split, pipeline=LOAD)
        assert len(dataset) == count
        item = dataset[0]
        assert item['inputs'].shape == (3, *SIZE)
        present = set(item['data_samples'].label.unique().tolist())
        assert {0, 2, 10} <= present  # road, building, sky
    assert (made / 'preview.jpg').is_file()


def test_the_same_arguments_give_the_same_bytes_and_a_complete_set_is_left_alone(made, tmp_path):
    make_demo(tmp_path / 'again', num_train=2, num_val=1, image_size=SIZE)
    files = sorted(path.relative_to(made) for path in made.rglob('*') if path.is_file())
    assert len(files) == 2 * 3 + 2
    assert all((made / path).read_bytes() == (tmp_path / 'again' / path).read_bytes() for path in files)
    assert make_demo(made, num_train=2, num_val=1, image_size=SIZE, say=lambda text: None).seconds == 0
    with pytest.raises(UserError, match=r'other settings \(seed 0 -> 1\)'):
        make_demo(made, num_train=2, num_val=1, image_size=SIZE, seed=1)


def without(world: World, item: Item) -> World:
    return World(world.street, world.light, [other for other in world.items if other is not item], world.picture_seed)


def test_a_thing_is_labeled_where_taking_it_away_changes_the_picture():
    """Its shadow changes as well, and lies elsewhere: what is labeled must change, not the other way round."""
    camera, compared = Camera(SIZE), 0
    world = sample_world((0, 0, 2))
    image, label = render(camera, world), draw_label_ids(camera, world)
    nearest = sorted((item for item in world.items if item.category is not None), key=lambda item: item.pose[1])
    for item in nearest[:4]:
        mine = label != draw_label_ids(camera, without(world, item))
        if mine.sum() < 40:
            continue
        changed = np.abs(image.astype(int) - render(camera, without(world, item))).max(-1) > 4
        assert changed[mine].mean() > 0.9, item.kind
        assert set(np.unique(label[mine]).tolist()) <= {ITEM_IDS[item.kind], RIDER}
        compared += 1
    assert compared >= 2


def test_the_classes_that_the_config_names_occur():
    labels = [draw_label_ids(Camera((72, 128)), sample_world((0, 0, index))) for index in range(16)]
    present = set(np.unique(np.stack(labels)).tolist())
    assert {7, 8, 11, 17, 21, 22, 23, 24, 25, 26, 27, 28, 32, 33} <= present


def test_poles_and_people_are_as_wide_as_in_the_picture():
    """A thing of known width at a known distance covers as many columns as the camera says."""
    camera = Camera((576, 1024))
    world = sample_world((0, 0, 0))
    item = Item('bus', 4, (0.0, 20.0, 0.0), (0.2, 2.0, 3.0), [box((-0.1, 0.1), 1.0, (0.0, 3.0), (1, 1, 1))])
    label = draw_label_ids(camera, World(world.street, world.light, [item], world.picture_seed))
    (left, _), (right, _) = camera.project(np.array([(-1.0, 1.0, 19.9), (1.0, 1.0, 19.9)]))
    row = label[int(camera.project(np.array([(0.0, 1.0, 19.9)]))[0, 1])]
    assert (row == ITEM_IDS['bus']).sum() == pytest.approx(right - left, abs=1.5)


def test_a_preview_shows_the_samples(made):
    assert cv2.imread(str(made / 'preview.jpg')).shape[1] >= 2 * SIZE[1]
