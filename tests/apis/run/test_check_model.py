"""A look at model and data before a run: classes without an output, frozen weights that nobody filled, no target."""

import json

import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, BaseModule
from torch import nn

from mmopt.apis.run.check_data import check_targets
from mmopt.apis.run.check_model import check_model, outline
from mmopt.apis.run.train import preflight
from mmopt.config import lower
from mmopt.datasets.common import ConcatDataset, RepeatDataset
from mmopt.engine.guards.classes import check_classes
from mmopt.registry import DATASETS, MODELS
from mmopt.utils.errors import DataError, UserError
from tests.conftest import REPO, forget_mmengine_globals
from tests.engine.test_runner import build
from tests.engine.toy import ToyDataset, ToyModel, toy_config

# Of each task: a config, and options that give the model one class less than its data has.
TASKS = {
    'bev': 'lss_swin_nuscenes',
    'detection': 'yolov5_fred_rgb',
    'segmentation': 'bisenetv2_cityscapes',
    'tad': 'tad_v7_mabe',
    'video': 'video_conv3d_driver',
}


def demo(name: str) -> Config:
    return Config(lower(Config.fromfile(REPO / 'configs' / 'demo' / f'{name}.py').to_dict()))


class Named:
    """What a data set says of its classes."""

    def __init__(self, count: int) -> None:
        self.metainfo = dict(classes=tuple(f'class {number}' for number in range(count)))


@pytest.mark.parametrize('task', TASKS)
def test_more_classes_in_the_data_than_in_the_model_are_refused_for_every_task(task):
    cfg = demo(TASKS[task])
    model = outline(cfg)
    outputs = model.num_classes
    assert outputs >= 1
    assert check_model(cfg, Named(outputs)).notes == ()
    remedy = model.classes_remedy if hasattr(model, 'classes_remedy') else 'model.num_classes'
    for extra in (1, 20):
        with pytest.raises(
            UserError, match=f'the data set has {outputs + extra} classes, the model has {outputs} .class {outputs}'
        ) as caught:
            check_model(cfg, Named(outputs + extra))
        assert f'set {remedy} to {outputs + extra}' in str(caught.value)
    if task in ('detection', 'tad', 'video'):
        check_model(cfg, Named(outputs - 1))  # outputs that nothing trains do no harm
    else:
        with pytest.raises(UserError, match=f'the data set has {outputs - 1} classes, the model has {outputs}: set'):
            check_model(cfg, Named(outputs - 1))


@MODELS.register_module(force=True)
class ClassifyingToyModel(ToyModel):
    """The toy model, with as many classes as it says."""

    def __init__(self, num_classes: int = 2, **kwargs) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes


@DATASETS.register_module(force=True)
class ClassifiedToyDataset(ToyDataset):
    METAINFO = dict(classes=('a', 'b', 'c'))


@pytest.mark.parametrize('wrapped', [False, True])
def test_the_dry_run_the_run_and_a_native_runner_compare_them(tmp_path, wrapped):
    dataset = dict(type='ClassifiedToyDataset')
    dataset = dict(type='RepeatDataset', dataset=dataset, times=2) if wrapped else dataset
    cfg = toy_config(tmp_path, model=dict(type='ClassifyingToyModel'), train_dataloader=dict(dataset=dataset))
    message = 'the data set has 3 classes, the model has 2 .c would have no output.: set model.num_classes to 3'
    with pytest.raises(UserError, match=message):
        preflight(Config(cfg))
    with pytest.raises(UserError, match=message):
        build(cfg).train()
    cfg['model']['num_classes'] = 4
    forget_mmengine_globals()
    preflight(Config(cfg))


def test_data_or_models_without_classes_are_not_compared():
    check_classes(nn.Linear(1, 1), Named(3))
    check_classes(ClassifyingToyModel(2), object())


# ------------------------------------------------------------------------------------------------ frozen
@MODELS.register_module(force=True)
class FrozenToyModel(BaseModel):
    """A backbone that may be frozen, a fixed kernel that always is, and a BatchNorm that may not measure."""

    def __init__(self, freeze: bool = False, norm_eval: bool = False, backbone_init: dict | None = None) -> None:
        super().__init__()
        self.backbone = BaseBackbone(backbone_init)
        self.fixed = nn.Parameter(torch.arange(4.0), requires_grad=False)
        self.head = nn.Linear(4, 1)
        self.norm_eval = norm_eval
        if freeze:
            self.backbone.requires_grad_(False)

    def forward(self, inputs, data_samples=None, mode='tensor'):
        return inputs

    def train(self, mode: bool = True):
        super().train(mode)
        if self.norm_eval:
            self.backbone.norm.eval()
        return self


class BaseBackbone(BaseModule):
    def __init__(self, init_cfg) -> None:
        super().__init__(init_cfg=init_cfg)
        self.conv = nn.Conv2d(2, 4, 1)
        self.norm = nn.BatchNorm2d(4)


def notes(tmp_path, model: dict | None = None, **changes) -> str:
    cfg = toy_config(tmp_path, by_epoch=True, model=dict(type='FrozenToyModel') | (model or {}), **changes)
    return '\n'.join(check_model(Config(cfg), None).notes)


def test_frozen_weights_that_nothing_filled_are_named_with_the_remedy(tmp_path):
    assert notes(tmp_path) == ''  # the fixed kernel is meant to be as it is
    for text in (
        notes(tmp_path, dict(freeze=True)),
        notes(tmp_path, train_cfg=dict(phases=[dict(until_epoch=1, freeze=['backbone']), dict()])),
        notes(tmp_path, dict(norm_eval=True)),
    ):
        assert text.startswith('backbone (')
        assert 'no checkpoint fills it, so it keeps random weights' in text
        assert 'load_from' in text
    phases = notes(tmp_path, train_cfg=dict(phases=[dict(until_epoch=1, freeze=['backbone']), dict()]))
    assert 'frozen until epoch 1' in phases
    assert 'phases.0.freeze' in phases


def test_frozen_weights_that_a_checkpoint_fills_are_fine(tmp_path):
    frozen = dict(freeze=True, norm_eval=True)
    state = FrozenToyModel().state_dict()
    pretrained = dict(type='Pretrained', checkpoint=str(tmp_path / 'backbone.pth'))
    with pytest.raises(UserError, match=r"^backbone: init_cfg's checkpoint .*backbone.pth does not exist"):
        notes(tmp_path, frozen | dict(backbone_init=pretrained))
    torch.save(state, tmp_path / 'backbone.pth')
    assert notes(tmp_path, frozen | dict(backbone_init=pretrained)) == ''
    torch.save(dict(state_dict=state), tmp_path / 'whole.pth')
    torch.save({f'model.{key}': value for key, value in state.items()}, tmp_path / 'lightning.pth')
    torch.save({key: value for key, value in state.items() if 'head' in key}, tmp_path / 'head.pth')
    for name in ('whole.pth', 'lightning.pth'):
        assert notes(tmp_path, frozen, load_from=str(tmp_path / name)) == ''
    assert 'backbone (' in notes(tmp_path, frozen, load_from=str(tmp_path / 'head.pth'))


def test_the_published_drone_config_says_that_its_backbone_is_frozen_and_random():
    cfg = Config(lower(Config.fromfile(REPO / 'configs' / 'baseline' / 'yolov5m_fred_rgb.py').to_dict()))
    (note,) = check_model(cfg, None).notes
    assert note.startswith('backbone (')
    assert 'frozen until epoch' in note


def test_looking_at_a_model_draws_nothing(tmp_path):
    torch.manual_seed(3)
    np.random.seed(3)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(3)
    np.random.seed(3)
    notes(tmp_path, dict(freeze=True))
    assert torch.equal(torch.rand(3), expected[0])
    assert (np.random.rand(3) == expected[1]).all()


# ------------------------------------------------------------------------------------------------ targets
def coco(folder, name: str, boxes: list[list[float]], **options):
    images = [dict(id=number, file_name=f'{number}.jpg', height=20, width=20) for number in range(2)]
    annotations = [dict(id=i, image_id=i % 2, category_id=1, bbox=box) for i, box in enumerate(boxes)]
    content = dict(images=images, annotations=annotations, categories=[dict(id=1, name='drone')])
    (folder / f'{name}.json').write_text(json.dumps(content))
    return DATASETS.build(
        dict(type='CocoDataset', data_root=str(folder), ann_file=f'{name}.json', pipeline=[]) | options
    )


UNUSABLE = {'none': [], 'outside': [[30, 30, 5, 5]], 'too narrow': [[3, 3, 0.5, 9]]}


@pytest.mark.parametrize('name', UNUSABLE)
def test_a_detection_set_without_a_usable_box_is_refused(tmp_path, name):
    empty = coco(tmp_path, 'empty', UNUSABLE[name])
    with pytest.raises(DataError, match=r'empty.json: none of its 2 images has a box of drone.*allow_no_targets=True'):
        check_targets(empty)
    with pytest.raises(DataError, match='none of its 2 images'):
        check_targets(ConcatDataset([empty, empty]))
    with pytest.raises(DataError, match='none of its 2 images'):
        check_targets(RepeatDataset(empty, 2))
    check_targets(coco(tmp_path, 'meant', UNUSABLE[name], allow_no_targets=True))
    full = coco(tmp_path, 'full', [*UNUSABLE[name], [3, 3, 5, 5]])
    check_targets(full)
    check_targets(ConcatDataset([empty, full]))


def test_masks_of_ignored_pixels_alone_are_refused(tmp_path):
    import cv2

    for folder, value in (('img', 9), ('void', 255), ('some', 255)):
        (tmp_path / folder).mkdir()
        for number in range(3):
            picture = np.full((8, 8), value, np.uint8)
            picture[0, 0] = 1 if folder == 'some' and number == 2 else value
            cv2.imwrite(str(tmp_path / folder / f'{number}.png'), picture)
    common = dict(type='ImageMaskDataset', data_root=str(tmp_path), img_dir='img', metainfo=dict(classes=('a', 'b')))
    with pytest.raises(DataError, match=r'0.png: every pixel of it and of the 2 masks behind it is ignored'):
        check_targets(DATASETS.build(dict(common, ann_dir='void')))
    check_targets(DATASETS.build(dict(common, ann_dir='some')))
    with pytest.raises(DataError, match='label_map'):
        check_targets(DATASETS.build(dict(common, ann_dir='some', label_map={1: 255})))


def test_maps_of_ignored_cells_alone_are_refused(tmp_path):
    import cv2

    for folder, value in (('void', 1 << 14), ('some', 0)):
        (tmp_path / folder).mkdir()
        (tmp_path / f'{folder}_img').mkdir()
        for number in range(2):
            label = np.full((196, 200), 1 << 14, np.uint16)
            label[5, 5] = value
            cv2.imwrite(str(tmp_path / folder / f'{number}.png'), label)
            cv2.imwrite(str(tmp_path / f'{folder}_img' / f'{number}.png'), np.zeros((9, 16, 3), np.uint8))
    (tmp_path / 'calib.json').write_text(json.dumps({str(number): np.eye(3).tolist() for number in range(2)}))

    def dataset(folder: str):
        options = dict(data_root=str(tmp_path), img_dir=f'{folder}_img', ann_dir=folder)
        return DATASETS.build(dict(type='NuScenesBEVDataset', **options))

    with pytest.raises(DataError, match=r'0.png: every cell of it and of the 1 maps behind it is ignored'):
        check_targets(dataset('void'))
    check_targets(dataset('some'))


def test_a_data_set_of_others_is_not_asked():
    check_targets(object())
