import numpy as np
import pytest
import torch

from mmopt.datasets.bev import NuScenesBEVDataset, draw_bev_map
from mmopt.datasets.bev.pictures import draw_bev_sample
from mmopt.datasets.common.pictures import contact_sheet, to_uint8_image
from mmopt.structures import DataSample

PALETTE = ((200, 0, 0), (0, 200, 0))
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='Resize', scale=(800, 600)),
    dict(type='PackBEVInputs'),
]


def test_the_car_is_at_the_bottom_and_later_classes_lie_on_top():
    maps = np.zeros((2, 196, 200), bool)
    maps[0, :50] = True  # near
    maps[1, 20:30, 50:60] = True
    picture = draw_bev_map(maps, np.ones((196, 200), bool), PALETTE, cell_px=1)
    assert picture[-26, 55].tolist() == [0, 200, 0]
    assert picture[-26, 65].tolist() == [200, 0, 0]
    assert picture[5, 65].tolist() not in ([200, 0, 0], [0, 200, 0])


def test_cells_that_do_not_count_are_dark_and_hatched():
    maps = np.ones((2, 196, 200), bool)
    valid = np.zeros((196, 200), bool)
    valid[:, :100] = True
    picture = draw_bev_map(maps, valid, PALETTE, cell_px=1)
    assert picture[100, 150].max() < 0.5 * picture[100, 50].max()
    assert len(np.unique(picture[100, 100:].reshape(-1, 3), axis=0)) == 2


def test_a_data_set_draws_its_samples_with_and_without_prediction(make_nuscenes):
    dataset = NuScenesBEVDataset(str(make_nuscenes(1)), pipeline=PIPELINE)
    item = dataset[0]
    sample = item['data_samples']
    without = dataset.draw(sample, item['inputs'])
    sample.pred_bits = sample.label_bits.clone()
    both = dataset.draw(sample, item['inputs'].permute(1, 2, 0).numpy())
    assert without.dtype == both.dtype == np.uint8
    assert both.shape[1] > without.shape[1] + 600
    # A perfect prediction looks like the truth: the last two panels (600 wide, 18 apart) agree.
    rows = slice(90, 670)
    assert np.array_equal(both[rows, -618:-18], both[rows, -1236:-636])


def test_a_map_has_a_scale_and_a_prediction_alone_has_no_other_panel():
    picture = draw_bev_map(np.zeros((2, 196, 200), bool), np.ones((196, 200), bool), PALETTE)
    # 10 m are 40 cells of 3 pixels.
    assert (picture[588 - 13, :600] == (232, 234, 238)).all(axis=-1).sum() == 120
    pred = np.zeros((2, 196, 200), bool)
    pred[0, :50] = True
    image = np.zeros((90, 160, 3), np.uint8)
    known = dict(title='a', classes=('road', 'car'), palette=PALETTE)
    alone = draw_bev_sample(image, None, None, pred, **known)
    both = draw_bev_sample(image, pred, np.ones((196, 200), bool), pred, **known)
    assert both.shape[1] == alone.shape[1] + 618


def test_a_normalized_image_is_shown_as_it_was():
    image = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    norm = dict(mean=[120.0, 110.0, 100.0], std=[58.0, 57.0, 56.0], to_rgb=False)
    inputs = torch.from_numpy((image[..., ::-1].astype(np.float32) - norm['mean']) / norm['std']).permute(2, 0, 1)
    sample = DataSample(metainfo=dict(img_norm_cfg=norm))
    assert np.array_equal(to_uint8_image(inputs, sample), image)
    with pytest.raises(ValueError, match='its sample has no img_norm_cfg'):
        to_uint8_image(inputs, DataSample())


def test_a_contact_sheet_holds_all_pictures_in_rows():
    pictures = [np.full((50, 100, 3), value, np.uint8) for value in (60, 120, 180)]
    sheet = contact_sheet(pictures, num_columns=2, gap=10)
    assert sheet.shape == (130, 230, 3)
    assert [sheet[30, 50, 0], sheet[30, 180, 0], sheet[90, 50, 0], sheet[90, 180, 0]] == [60, 120, 180, 16]
