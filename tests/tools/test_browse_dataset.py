"""tools/browse_dataset.py on a tiny nuScenes folder and the shipped data set and baseline configs."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from mmopt.utils.errors import UserError
from tests.datasets.bev.conftest import write_nuscenes

CONFIG = str(Path(__file__).resolve().parents[2] / 'configs' / 'baseline' / 'lss_swin_nuscenes.py')


@pytest.fixture
def root(tmp_path) -> str:
    return str(write_nuscenes(tmp_path / 'nuscenes', 3, splits=('train', 'val')))


def test_pictures_and_a_sheet_are_written_and_one_line_says_where(tool, root, capsys):
    tool('browse_dataset').main([CONFIG, '--split', 'val', '--num', '2', '--options', f'data.data_root={root}'])
    folder = Path('work_dirs/lss_swin_nuscenes/browse')
    assert sorted(path.name for path in folder.iterdir()) == ['val_000000.jpg', 'val_000001.jpg', 'val_sheet.jpg']
    assert capsys.readouterr().out == f'2 pictures in {folder}, all on {folder}/val_sheet.jpg\n'
    assert cv2.imread(str(folder / 'val_sheet.jpg')).shape[1] > 2000


def test_augmented_pictures_of_training_differ_by_epoch_and_those_of_validation_do_not(tool, root):
    def camera(split: str, epoch: int, *flags: str) -> np.ndarray:
        out = f'{split}{epoch}{len(flags)}'
        options = ['--options', f'data.data_root={root}']
        tool('browse_dataset').main(
            [CONFIG, '--split', split, '--num', '1', '--out', out, '--epoch', str(epoch), *flags, *options]
        )
        return cv2.imread(f'{out}/{split}_000000.jpg')[100:600, 100:900].astype(int)

    plain = camera('train', 0)
    shown = [camera('train', epoch, '--augmented') for epoch in range(2)]
    assert max(np.abs(picture - plain).mean() for picture in shown) > 5
    assert max(np.abs(picture - shown[0]).mean() for picture in shown) > 5
    assert np.abs(camera('val', 0, '--augmented') - camera('val', 1)).mean() < 1


def test_augmented_shows_an_image_that_the_pipeline_normalized_as_it_was(tool, root, tmp_path):
    norm = dict(type='Normalize', mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
    load = [dict(type='LoadImageFromFile'), dict(type='LoadBEVLabel'), dict(type='Resize', img_scale=(800, 600))]
    config = tmp_path / 'normalized.py'
    pipeline = [*load, norm, dict(type='PackBEVInputs')]
    config.write_text(f'_base_ = [{CONFIG!r}]\ndata = dict(val=dict(pipeline={pipeline!r}))\n')
    pictures = []
    for out, path in (('cpu', str(config)), ('device', CONFIG)):
        flags = ['--split', 'val', '--num', '1', '--out', out, '--augmented', '--options', f'data.data_root={root}']
        tool('browse_dataset').main([path, *flags])
        pictures.append(cv2.imread(f'{out}/val_000000.jpg').astype(int))
    assert np.abs(pictures[0] - pictures[1]).mean() < 1


@pytest.mark.parametrize(
    ('flags', 'text'),
    [
        (['--num', '0'], '--num must be at least 1, got 0'),
        (['--options', 'data.data_root=absent'], 'nuScenes BEV data not found: the folder absent/img_dir/train'),
        (['--augmented', '--options', 'model.data_preprocessor=None'], '--augmented needs a data preprocessor'),
    ],
)
def test_what_cannot_be_shown_is_one_error(tool, root, flags, text):
    flags = flags if '--options' in flags else [*flags, '--options', f'data.data_root={root}']
    with pytest.raises(UserError, match=text):
        tool('browse_dataset').main([CONFIG, *flags])
