"""Values that are read after inheritance and options: '=name'."""

import pytest

from mmopt.apis.config import load_config
from mmopt.config import lower
from mmopt.config.late import late_names, resolve_late
from mmopt.config.schema import ConfigError
from tests.conftest import REPO


def test_a_text_with_an_equals_sign_stands_for_the_value_of_a_name_or_the_number_of_its_entries():
    cfg = dict(classes=['a', 'b'], size=(3, 4), model=dict(head=[dict(num_classes='=len(classes)')], size='=size'))
    resolved = resolve_late(cfg)
    assert resolved['model'] == dict(head=[dict(num_classes=2)], size=(3, 4))
    assert cfg['model']['size'] == '=size'
    assert resolve_late(dict(size=(3, 4), model=dict(image='=reversed(size)')))['model'] == dict(image=(4, 3))
    assert late_names(cfg) == {'classes', 'size'}


def test_a_name_that_the_config_does_not_set_leaves_the_default_or_gives_the_value_for_its_absence():
    cfg = dict(model=dict(num_classes='=len(classes) or 9', size='=size', image='=reversed(size) or (600, 800)'))
    assert resolve_late(cfg)['model'] == dict(num_classes=9, image=(600, 800))


def test_other_texts_that_begin_so_are_texts():
    cfg = dict(model=dict(title='= a =', rule='=2', formula='=a+b'))
    assert resolve_late(cfg) == cfg


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (dict(classes='a', model=dict(n='=len(classes)')), "classes='a' has no entries; write a list"),
        (dict(model=dict(n='=len(classes) or what is this')), "'what is this' is no value"),
        (dict(classes='=names', names=['a'], model=dict(n='=classes')), 'classes is read last itself'),
    ],
)
def test_a_slip_names_the_place_and_the_remedy(cfg, message):
    with pytest.raises(ConfigError, match=message):
        resolve_late(cfg)


@pytest.mark.parametrize('name', ['yolov5m_fred_rgb', 'yolov5m_fred_rgb_fast', 'yolov5m_fred_event', 'yolov5n_clips'])
def test_classes_and_picture_size_of_detection_are_set_in_one_line_each(name, tmp_path):
    child = tmp_path / 'child.py'
    base = str(REPO / 'configs/baseline' / f'{name}.py')
    child.write_text(f"_base_ = [{base!r}]\nclasses = ['car', 'bus', 'bicycle']\nsize = (320, 512)\n")
    cfg = load_config(child)
    assert cfg.model.head.num_classes == 3
    for split in ('train', 'val', 'test'):
        dataset = cfg[f'{split}_dataloader'].dataset
        assert dataset.metainfo.classes == ['car', 'bus', 'bicycle']
        sizes = [step.size for step in dataset.pipeline if 'size' in step]
        assert sizes
        assert set(sizes) == {(320, 512)}


def test_an_option_sets_classes_and_size_as_well():
    options = ["classes=['car','bus']", 'size=(320,512)']
    cfg = load_config(REPO / 'configs/baseline/yolov5m_fred_rgb.py', options=options)
    assert cfg.model.head.num_classes == 2
    assert cfg.val_dataloader.dataset.pipeline[1].size == (320, 512)


def test_a_config_that_names_no_classes_takes_those_of_the_json_and_may_set_their_number():
    cfg = load_config(REPO / 'configs/baseline/yolov5m_fred_rgb.py', options=['model.head.num_classes=3'])
    assert cfg.model.head.num_classes == 3
    assert cfg.train_dataloader.dataset.metainfo == {}


def test_a_config_that_sets_the_number_itself_keeps_it(tmp_path):
    child = tmp_path / 'child.py'
    base = str(REPO / 'configs/baseline/yolov5m_fred_rgb.py')
    metainfo = "metainfo=dict(classes=['x', 'y'])"
    child.write_text(
        f'_base_ = [{base!r}]\nmodel = dict(head=dict(num_classes=2))\n'
        f'data = dict(train=dict({metainfo}), val=dict({metainfo}), test=dict({metainfo}))\n'
    )
    cfg = load_config(child)
    assert cfg.model.head.num_classes == 2
    assert cfg.train_dataloader.dataset.metainfo.classes == ['x', 'y']


@pytest.mark.parametrize(
    ('base', 'variable', 'read'),
    [
        ('bisenetv2_camvid', "classes = ['a', 'b']", lambda cfg: cfg.model.auxiliary_heads.s3.num_classes == 2),
        ('tad_v7_mabe_5090', "classes = ['a', 'b']", lambda cfg: cfg.model.num_classes == 2),
        ('video_conv3d_driver', "classes = ['a', 'b']", lambda cfg: cfg.model.num_classes == 2),
        ('video_conv3d_driver', 'img_size = 96', lambda cfg: cfg.val_dataloader.dataset.img_size == 96),
        ('lss_swin_nuscenes', 'img_scale = (704, 256)', lambda cfg: cfg.model.neck.image_size == (256, 704)),
    ],
)
def test_one_line_of_a_child_changes_the_other_tasks(base, variable, read, tmp_path):
    child = tmp_path / 'child.py'
    child.write_text(f'_base_ = [{str(REPO / "configs/baseline" / f"{base}.py")!r}]\n{variable}\n')
    assert read(load_config(child))


def test_native_configs_resolve_them_too():
    cfg = dict(
        classes=['a'], train_dataloader=dict(dataset=dict(type='X')), model=dict(n='=len(classes)'), work_dir='w'
    )
    assert lower(cfg)['model'] == dict(n=1)
