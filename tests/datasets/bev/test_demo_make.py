"""The demo data set on disk: contents, determinism, restarts, refusals."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmopt.datasets.bev import NuScenesBEVDataset
from mmopt.datasets.bev.demo import make as module
from mmopt.datasets.bev.demo import make_demo
from mmopt.datasets.bev.demo.labels import draw_label
from mmopt.datasets.common.street.camera import Camera
from mmopt.datasets.common.street.render import sample_world
from mmopt.datasets.common.street.traffic import CLASSES
from mmopt.datasets.demos import find_demo
from mmopt.evaluation import input_blind_iou
from mmopt.utils.errors import UserError

SMALL = dict(num_train=3, num_val=1, image_size=(90, 160))


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob('*')) if path.is_file()}


@pytest.fixture
def quiet():
    lines = []
    yield lines.append
    assert all('\n' not in line for line in lines)


@pytest.fixture(scope='module')
def made(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('demo') / 'nuscenes'
    make_demo(root, **SMALL)
    return root


@pytest.fixture(scope='module')
def default_labels() -> dict[str, np.ndarray]:
    """Labels of the set that `make train` uses; without pictures they are cheap."""

    def label(split: int, index: int) -> np.ndarray:
        world = sample_world((0, split, index))
        return draw_label(Camera(), world.street, world.items)

    return {
        name: np.stack([label(split, index) for index in range(count)])
        for split, (name, count) in enumerate([('train', 64), ('val', 16)])
    }


def test_it_is_in_the_layout_that_the_data_set_reads(made):
    for split, count in (('train', 3), ('val', 1)):
        dataset = NuScenesBEVDataset(str(made), f'img_dir/{split}', f'ann_bev_dir/{split}')
        assert len(dataset) == count
        sample = dataset.get_data_info(0)
        np.testing.assert_allclose(sample['intrinsics'], Camera((90, 160)).intrinsics_33, rtol=1e-6)
        assert cv2.imread(sample['img_path']).shape == (90, 160, 3)
        label = cv2.imread(sample['label_path'], cv2.IMREAD_UNCHANGED)
        assert (label.shape, label.dtype) == ((196, 200), np.uint16)
        assert 0 < label.max() < 1 << 15


def test_the_same_arguments_give_the_same_bytes_for_any_number_of_workers(made, tmp_path):
    make_demo(tmp_path / 'again', **SMALL, num_workers=2)
    assert contents(tmp_path / 'again') == contents(made)


def test_samples_splits_and_seeds_differ(made, tmp_path):
    make_demo(tmp_path / 'other', **SMALL, seed=1)
    images = [path.read_bytes() for root in (made, tmp_path / 'other') for path in root.rglob('*.jpg')]
    assert len(set(images)) == len(images)


def test_a_complete_set_is_left_alone_and_one_line_says_so(made):
    before, lines = {path: path.stat().st_mtime_ns for path in made.rglob('*')}, []
    result = make_demo(made, **SMALL, say=lines.append)
    assert lines == [f'{made} is complete (3 train + 1 val): left alone; --force makes it anew.']
    assert result.seconds == 0
    assert before == {path: path.stat().st_mtime_ns for path in made.rglob('*')}


def test_a_stopped_run_goes_on_where_it_stopped_and_leaves_no_half_set(made, tmp_path, monkeypatch, quiet):
    root, lines, written = tmp_path / 'set', [], []
    original = module._write_one

    def stop_at_third(root: Path, split: str, index: int, settings) -> None:
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append((split, index))
        original(root, split, index, settings)

    monkeypatch.setattr(module, '_write_one', stop_at_third)
    with pytest.raises(KeyboardInterrupt):
        make_demo(root, **SMALL, say=quiet)
    assert not root.exists()
    monkeypatch.setattr(module, '_write_one', lambda *args: (written.append(args[1:3]), original(*args)))
    make_demo(root, **SMALL, say=lines.append)
    assert lines == ['2 of 4 samples were made before the last stop.']
    assert len(written) == len(set(written)) == 4
    assert contents(root) == contents(made)


def test_what_a_stopped_run_of_other_settings_left_is_not_used(made, tmp_path):
    left_over = tmp_path / 'set.partial' / 'ann_bev_dir' / 'train'
    left_over.mkdir(parents=True)
    (left_over / 'train_0000.png').write_bytes(b'of another size')
    (tmp_path / 'set.partial' / 'demo.json').write_text(json.dumps(dict(seed=3)))
    make_demo(tmp_path / 'set', **SMALL)
    assert contents(tmp_path / 'set') == contents(made)


def test_other_settings_are_refused_by_name_and_force_replaces(made, tmp_path):
    root = tmp_path / 'set'
    make_demo(root, num_train=1, num_val=1, image_size=(90, 160))
    with pytest.raises(UserError, match=r'other settings \(num_train 1 -> 3\); --force replaces it'):
        make_demo(root, **SMALL)
    make_demo(root, **SMALL, force=True)
    assert contents(root) == contents(made)


def test_a_set_of_an_older_format_is_made_anew_without_asking(made, tmp_path, monkeypatch):
    root = tmp_path / 'set'
    monkeypatch.setattr(module, '_FORMAT', 0)
    make_demo(root, num_train=1, num_val=1, image_size=(90, 160))
    monkeypatch.undo()
    make_demo(root, **SMALL)
    assert contents(root) == contents(made)


@pytest.mark.parametrize('force', [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path, force):
    (tmp_path / 'thesis.tex').write_text('years of work')
    with pytest.raises(UserError, match='did not make; choose another folder with --out'):
        make_demo(tmp_path, **SMALL, force=force)
    assert (tmp_path / 'thesis.tex').exists()


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (dict(num_val=0), 'at least 1 sample in each split, got num_train=3 and num_val=0'),
        (dict(image_size=(40, 160)), r'at least 64x64 pixels, got image_size=\(40, 160\)'),
        (dict(seed=-1), 'seed of at least 0, got -1'),
    ],
)
def test_impossible_settings_are_named(tmp_path, change, message):
    with pytest.raises(UserError, match=message):
        make_demo(tmp_path / 'set', **(SMALL | change))


def test_every_class_occurs_where_it_counts_in_both_splits(default_labels):
    for split, least in (('train', 8), ('val', 1)):
        counted = np.where(default_labels[split] >> 14 & 1, 0, default_labels[split])
        images = {name: int((counted >> index & 1).any((1, 2)).sum()) for index, name in enumerate(CLASSES)}
        assert min(images.values()) >= least, images


def test_streets_vary_so_much_that_a_guess_without_the_image_is_poor(default_labels):
    assert input_blind_iou(default_labels['train'], default_labels['val'])['mIoU'] < 0.10


def test_an_unknown_demo_is_named_with_those_that_exist():
    with pytest.raises(UserError, match=r"unknown demo 'nuscens'; known: .*nuscenes.* Did you mean nuscenes\?"):
        find_demo('nuscens')
