"""What of a config goes to the adapters, and which configs are recognized as code of mmcv 1.x."""

import pytest

from mmopt.config import ConfigError
from mmopt.mmcv1.lower import part_to_train
from mmopt.mmcv1.recognize import is_written_for_mmcv1, recognize
from mmopt.utils.errors import UserError
from tests.mmcv1.layer import CONFIG, TINY, run


def test_a_tracker_without_a_type_trains_its_detector():
    assert part_to_train(dict(model=dict(detector=dict(type='A')))) == dict(type='A')
    assert part_to_train(dict(model=dict(type='B', detector=dict(type='A'))))['type'] == 'B'
    assert part_to_train({}) is None


def test_packages_for_mmcv_1_are_told_by_their_range_or_their_imports(tmp_path):
    assert is_written_for_mmcv1(TINY / 'tinynet')
    for text, expected in (
        ("MMCV_MIN = '2.0.0rc4'\nMMCV_MAX = '2.3.0'\nimport mmcv\n", False),
        ("mmcv_minimum_version = '1.3.0'\nmmcv_maximum_version = '1.8.0'\n", True),
        ('from mmcv.runner import auto_fp16\n', True),
        ('from mmcv.utils import Registry, x\n', True),
        ('import mmcv.parallel\n', True),
        ('from mmcv.cnn import ConvModule\nfrom mmengine.model import BaseModule\n', False),
        ('# from mmcv.runner import x\n', False),
    ):
        (tmp_path / '__init__.py').write_text(text)
        assert is_written_for_mmcv1(tmp_path) is expected, text


def test_a_config_is_recognized_by_its_neighbor_its_imports_its_plugin_or_its_word():
    model = dict(type='TinySegmentor')
    found = recognize(dict(model=model), CONFIG)
    parts = ('models', 'datasets', 'core', 'utils', 'apis')
    assert found.imports == ('tinynet', *(f'tinynet.{part}' for part in parts))
    assert found.optional == ('tinynet.utils', 'tinynet.apis')
    assert found.roots == (TINY,)
    assert recognize(dict(model=model, mmcv1=False), CONFIG) is None
    assert recognize(dict(model=dict(type='NoSuchModel')), CONFIG) is None
    imported = recognize(dict(custom_imports=dict(imports='tinynet.models')), CONFIG)
    assert imported.imports == ('tinynet.models',)
    assert imported.reason == 'tinynet.models is written for it'
    plugin = recognize(dict(plugin=True, plugin_dir='tinynet/core/'), CONFIG)
    assert plugin.imports == ('tinynet.core',)
    said = recognize(dict(mmcv1=dict(package='tinynet', version='1.4.0')), CONFIG)
    assert (said.package, said.version) == ('tinynet', '1.4.0')
    assert said.as_config()['version'] == '1.4.0'


def test_a_config_that_names_no_such_code_leaves_the_layer_off(tmp_path):
    config = tmp_path / 'x.py'
    assert recognize(dict(model=dict(type='BiSeNetV2')), config) is None
    assert recognize(dict(custom_imports=dict(imports=['json'])), config) is None
    assert recognize(dict(train_dataloader={}, optim_wrapper={}), config) is None
    with pytest.raises(UserError, match="mmcv1.package='nowhere': there is no such package"):
        recognize(dict(mmcv1=dict(package='nowhere')), config)
    with pytest.raises(ConfigError, match='mmcv1.pakage is unknown; did you mean package'):
        recognize(dict(mmcv1=dict(pakage='x')), config)


def _lower_all_sections() -> None:
    from mmopt.apis.config import load_config

    options = [
        'data.test.samples_per_gpu=2',
        'data.train.num=8',
        "custom_hooks=[{'type':'NoteHook','priority':'LOW'},{'type':'EMAHook'}]",
        "evaluation={'interval':3,'pre_eval':True,'metric':'x'}",
    ]
    cfg = load_config(CONFIG, options=options)
    assert cfg.model.type == 'MMCV1Model'
    assert cfg.model.model.type == 'TinySegmentor'
    assert cfg.model.model.test_cfg.mode == 'whole'
    assert cfg.train_dataloader.dataset.source.num == 8
    assert cfg.train_dataloader.sampler.type == 'MMCV1Sampler'
    assert cfg.test_dataloader.batch_size == 2
    assert 'samples_per_gpu' not in cfg.test_dataloader.dataset.source
    assert cfg.test_dataloader.dataset.test_mode
    kinds = [hook.type for hook in cfg.custom_hooks]
    assert kinds == ['MMCV1Setup', 'MMCV1Hook', 'EMAHook']
    assert cfg.custom_hooks[1].priority == 'LOW'
    assert dict(cfg.val_evaluator.metrics[0]) == dict(type='MMCV1Evaluation', metric='x', pre_eval=True)
    assert cfg.mmcv1.root == [str(TINY)]


def _replace_root(folder: str) -> None:
    from mmopt.apis.config import load_config

    path = f'{folder}/rooted.py'
    with open(path, 'w') as file:
        file.write(
            f'_base_ = [{str(CONFIG)!r}]\n'
            f"mmcv1 = dict(package='tinynet', root={str(TINY)!r})\n"
            "data = dict(train=dict(data_root='old', list=['old/a.txt']))\n"
        )
    source = load_config(path, options=['data.data_root=new']).train_dataloader.dataset.source
    assert source.data_root == 'new'
    assert list(source.list) == ['new/a.txt']


def test_another_data_root_reaches_the_repositorys_data_sets(tmp_path):
    run(tmp_path, _replace_root, str(tmp_path))


def test_the_repositorys_parts_go_to_adapters_and_the_rest_is_lowered_as_always(tmp_path):
    run(tmp_path, _lower_all_sections)
