"""Weights that do not fit: refused by what would use them, listed by what begins with them; prefixes are taken off."""

import pytest
import torch
from mmengine.config import Config
from torch import nn

from mmopt.engine.checkpoint_io import load_weights
from mmopt.utils.errors import UserError
from tests.conftest import forget_mmengine_globals, load_script
from tests.engine.toy import toy_config
from tests.tools.conftest import DrawnToyDataset


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A trained checkpoint and the config file that made it."""
    folder = tmp_path_factory.mktemp('trained')
    cfg = toy_config(folder / 'work', max_iters=4)
    cfg['val_dataloader']['dataset']['type'] = DrawnToyDataset.__name__
    cfg |= dict(
        test_dataloader=cfg['val_dataloader'], test_evaluator=cfg['val_evaluator'], test_cfg=dict(type='TestLoop')
    )
    Config(cfg).dump(folder / 'toy.py')
    load_script('tools/train.py').main([str(folder / 'toy.py'), '--work-dir', str(folder / 'work')])
    forget_mmengine_globals()
    return folder / 'toy.py', folder / 'work' / 'iter_4.pth'


def changed(trained, tmp_path, change) -> str:
    """Write the checkpoint with other weights."""
    content = torch.load(trained[1], weights_only=True)
    content['state_dict'] = change(dict(content['state_dict']))
    torch.save(content, tmp_path / 'iter_4.pth')
    return str(tmp_path / 'iter_4.pth')


def other_width(state: dict) -> dict:
    return {key: value[:1] if key.startswith('hidden') else value for key, value in state.items()}


MISFITS = {
    'another width': (other_width, 'of another shape'),
    'a part missing': (lambda state: {k: v for k, v in state.items() if not k.startswith('norm')}, 'missing'),
    'more than the model': (lambda state: state | {'more.weight': torch.zeros(2)}, 'unknown to the model'),
}


@pytest.mark.parametrize('name', MISFITS)
def test_a_test_and_a_resumed_run_refuse_them_in_one_line_unless_told(trained, tmp_path, capsys, name):
    change, text = MISFITS[name]
    config, path = str(trained[0]), changed(trained, tmp_path, change)
    test, train = load_script('tools/test.py').main, load_script('tools/train.py').main
    for call in (
        lambda *flags: test([config, path, '--work-dir', str(tmp_path / 'test'), *flags]),
        lambda *flags: train([config, '--work-dir', str(tmp_path / 'run'), '--resume-from', path, *flags]),
        lambda *flags: train([config, '--work-dir', str(tmp_path / 'run'), '--resume-from', path, '--dry-run', *flags]),
    ):
        forget_mmengine_globals()
        with pytest.raises(UserError, match=f'does not fit the model.*{text}.*--allow-partial') as caught:
            call()
        assert '\n' not in str(caught.value)
    forget_mmengine_globals()
    assert test([config, path, '--work-dir', str(tmp_path / 'test'), '--allow-partial']) == 0
    assert text in capsys.readouterr().out
    forget_mmengine_globals()
    for dry in ([], ['--dry-run']):
        with pytest.raises(UserError, match='a part of the weights was left out.*resume_optimizer=False'):
            train([config, '--work-dir', str(tmp_path / 'r2'), '--resume-from', path, '--allow-partial', *dry])
        forget_mmengine_globals()
    flags = ['--allow-partial', '--options', 'resume_optimizer=False']
    assert train([config, '--work-dir', str(tmp_path / 'r3'), '--resume-from', path, *flags]) == 0


def test_load_from_lists_them_by_part_with_counts(trained, tmp_path, capsys):
    path = changed(trained, tmp_path, other_width)
    train = load_script('tools/train.py').main
    assert train([str(trained[0]), '--work-dir', str(tmp_path / 'run'), '--load-from', path]) == 0
    assert 'of another shape and not loaded  hidden  2  hidden.weight: (1, 2) -> (16, 2)' in capsys.readouterr().out


def test_a_resumed_run_with_another_optimizer_is_refused_by_a_dry_run(trained, tmp_path):
    flags = ['--resume-from', str(trained[1]), '--dry-run', '--options', 'optim_wrapper.optimizer.type=SGD']
    with pytest.raises(UserError, match=r'trained with AdamW, the config says SGD.*resume_optimizer=False'):
        load_script('tools/train.py').main([str(trained[0]), '--work-dir', str(tmp_path), *flags])


def test_a_dry_run_says_what_has_changed_since_the_checkpoint(trained, tmp_path, capsys):
    flags = ['--resume-from', str(trained[1]), '--dry-run', '--options', 'optim_wrapper.optimizer.lr=0.5']
    load_script('tools/train.py').main([str(trained[0]), '--work-dir', str(tmp_path), *flags])
    assert 'changed since: optimizer.lr 0.01 -> 0.5' in capsys.readouterr().out


PREFIXES = {
    '_orig_mod.': {},
    'model.': {'criterion.weight': torch.zeros(3)},
    'net.': {},
    'module.': {},
    'module._orig_mod.': {},
    'model._orig_mod.': {},
    'anything.at.all.': {},
}


def small() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(2, 3, 1), nn.BatchNorm2d(3))


@pytest.mark.parametrize('prefix', PREFIXES)
def test_a_prefix_without_which_everything_fits_is_taken_off(prefix):
    source, target = small(), small()
    nn.init.ones_(source[0].weight)
    state = {prefix + key: value for key, value in source.state_dict().items()} | PREFIXES[prefix]
    assert load_weights(target, state, strict=True).complete
    assert torch.equal(target[0].weight, source[0].weight)


def test_names_with_compiled_parts_fit():
    source, target = small(), small()
    nn.init.ones_(source[0].weight)
    state = {key.replace('0.', '0._orig_mod.'): value for key, value in source.state_dict().items()}
    assert load_weights(target, state, strict=True).complete
    assert torch.equal(target[0].weight, source[0].weight)


def test_two_models_in_one_file_are_a_choice_of_the_users():
    source, target = small(), small()
    nn.init.ones_(source[0].weight)
    state = {f'student.{key}': value for key, value in small().state_dict().items()}
    state |= {f'teacher.{key}': value for key, value in source.state_dict().items()}
    with pytest.raises(UserError, match='2 times, under student., teacher.: choose one with --strip-prefix student'):
        load_weights(target, state)
    assert load_weights(target, state, strict=True, strip_prefix='teacher').complete
    assert torch.equal(target[0].weight, source[0].weight)
    with pytest.raises(UserError, match='--strip-prefix techer: no entry begins with it'):
        load_weights(target, state, strip_prefix='techer')


def test_lightnings_usual_model_goes_before_its_average():
    source, target = small(), small()
    nn.init.ones_(source[0].weight)
    state = {f'model.{key}': value for key, value in source.state_dict().items()}
    state |= {f'ema_model.module.{key}': value for key, value in small().state_dict().items()}
    assert load_weights(target, state, strict=True).complete
    assert torch.equal(target[0].weight, source[0].weight)
