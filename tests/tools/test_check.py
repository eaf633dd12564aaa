"""tools/datasets/check.py on small data of all five tasks, and on broken data."""

import json

import cv2
import numpy as np
import pytest

from mmopt.datasets.tad import MABeDataset
from mmopt.datasets.tad.demo.make import make_demo as make_mice
from mmopt.utils.errors import DataNotFoundError
from tests.conftest import REPO
from tests.datasets.bev.conftest import write_nuscenes
from tests.datasets.video.conftest import write_labels, write_video

BASELINE = REPO / 'configs' / 'baseline'


def write_boxes(root, num: int = 6):
    """Images of 96x64 with one box each; the last is larger and has nine."""
    rng = np.random.default_rng(0)
    for split in ('train', 'val'):
        images, annotations = [], []
        for number in range(num):
            size = (64, 96) if number < num - 1 else (128, 192)
            name = f'{split}_{number}.png'
            root.mkdir(exist_ok=True)
            cv2.imwrite(str(root / name), rng.integers(0, 255, (*size, 3), dtype=np.uint8))
            images.append(dict(id=number, file_name=name, height=size[0], width=size[1]))
            for k in range(1 if number < num - 1 else 9):
                box = [4 + 8 * k, 5, 20, 30]
                annotations.append(
                    dict(id=100 * number + k, image_id=number, category_id=1, bbox=box, area=600, iscrowd=0)
                )
        categories = [dict(id=1, name='drone')]
        (root / 'annotations').mkdir(exist_ok=True)
        text = json.dumps(dict(images=images, annotations=annotations, categories=categories))
        (root / 'annotations' / f'{split}.json').write_text(text)
    return root


@pytest.fixture
def boxes(tmp_path):
    return write_boxes(tmp_path / 'boxes')


def run_boxes(tool, root, out, *options):
    changes = [f'data.{split}.data_root={root}' for split in ('train', 'val', 'test')]
    argv = [str(BASELINE / 'yolov5n_clips.py'), '--out', str(out), '--workers', '0', '--options', *changes, *options]
    return tool('datasets/check').main(argv)


def test_boxes_are_counted_and_the_odd_picture_is_shown(tool, boxes, tmp_path, capsys):
    assert run_boxes(tool, boxes, tmp_path / 'out') == 0
    text = capsys.readouterr().out
    assert 'train: 6 samples, 6 read, 0 broken' in text
    assert '14 boxes, by class and in how many samples: drone 14 in 6' in text
    assert 'width px: 96 to 192, middle 96' in text
    assert 'odd 1: ' in text
    assert 'train_5.png: boxes 9 (usual 1)' in text
    sheet = cv2.imread(str(tmp_path / 'out' / 'train_odd.jpg'))
    assert sheet.shape[1] > 1000


def test_a_broken_picture_is_named_and_the_exit_code_is_1(tool, boxes, tmp_path, capsys):
    (boxes / 'train_2.png').write_bytes((boxes / 'train_2.png').read_bytes()[:200])
    (boxes / 'train_3.png').unlink()
    assert run_boxes(tool, boxes, tmp_path / 'out') == 1
    text = capsys.readouterr().out
    assert 'train: 6 samples, 6 read, 2 broken' in text
    assert 'train_2.png' in text
    assert 'train_3.png' in text


def test_a_set_without_a_box_has_nothing_to_learn(tool, boxes, tmp_path, capsys):
    path = boxes / 'annotations' / 'train.json'
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(annotations=[])))
    assert run_boxes(tool, boxes, tmp_path / 'out') == 1
    assert 'nothing to learn: ' in capsys.readouterr().out


def test_a_missing_folder_is_an_error_for_the_one_line_that_tools_end_with(tool, tmp_path):
    with pytest.raises(DataNotFoundError, match='nowhere'):
        run_boxes(tool, tmp_path / 'nowhere', tmp_path / 'out')


def test_maps_are_described_by_the_share_of_their_cells(tool, tmp_path, capsys):
    root = write_nuscenes(tmp_path / 'nuscenes', 3, splits=('train', 'val'))
    argv = [str(BASELINE / 'lss_swin_nuscenes.py'), '--out', str(tmp_path / 'out'), '--workers', '0']
    assert tool('datasets/check').main([*argv, '--limit', '2', '--options', f'data.data_root={root}']) == 0
    text = capsys.readouterr().out
    assert 'train: 3 samples, 2 read, 0 broken' in text
    assert 'share of the cells that count' in text
    assert 'focal length px: ' in text
    assert (tmp_path / 'out' / 'train_odd.jpg').is_file()


def test_masks_are_described_by_the_share_of_their_pixels(tool, tmp_path, capsys):
    root, rng = tmp_path / 'masks', np.random.default_rng(0)
    for split in ('train', 'val'):
        for folder in (split, f'{split}annot'):
            (root / folder).mkdir(parents=True)
        for number in range(3):
            cv2.imwrite(str(root / split / f'{number}.png'), rng.integers(0, 255, (48, 64, 3), dtype=np.uint8))
            mask = np.full((48, 64), 3, np.uint8)
            mask[:24] = 0 if number else 11
            cv2.imwrite(str(root / f'{split}annot' / f'{number}.png'), mask)
    argv = [str(BASELINE / 'bisenetv2_camvid.py'), '--out', str(tmp_path / 'out'), '--workers', '0', '--split', 'train']
    assert tool('datasets/check').main([*argv, '--options', f'data.data_root={root}']) == 0
    text = capsys.readouterr().out
    assert 'sky 33.33% in 2, building none, pole none, road 50.00% in 3' in text
    assert 'ignored share: 0 to 0.5, middle 0' in text


def test_intervals_are_counted_once_though_windows_overlap(tool, tmp_path, capsys):
    root = make_mice(tmp_path / 'mabe', 4, 2, video_s=60.0).out
    argv = [str(REPO / 'configs/demo/tad_v7_mabe.py'), '--out', str(tmp_path / 'out'), '--workers', '0']
    assert tool('datasets/check').main([*argv, '--split', 'train', '--options', f'data.data_root={root}']) == 0
    text = capsys.readouterr().out
    dataset = MABeDataset(data_root=str(root), split_file='splits/train.txt')
    dataset.full_init()
    assert f'  {sum(len(events) for events in dataset.events)} intervals, by class' in text


def test_segments_of_videos_are_counted(tool, tmp_path, capsys):
    root = tmp_path / 'driver'
    for view in ('front', 'left', 'right'):
        write_video(root / 'videos_split' / 'person_01' / 'day_high' / f'{view}.mp4', 60)
    write_labels(root / 'label' / 'person_01_day_high.json', [(0, 20, 'front'), (20, 60, 'left')])
    argv = [str(BASELINE / 'video_conv3d_driver.py'), '--out', str(tmp_path / 'out'), '--workers', '0']
    options = [f'data.{s}.data_root={root}' for s in ('train', 'val', 'test')]
    options += [f'data.{s}.split_file=' for s in ('train', 'val', 'test')]
    assert tool('datasets/check').main([*argv, '--split', 'train', '--options', *options]) == 0
    assert '2 segments, by class and in how many samples: left 1 in 1' in capsys.readouterr().out
