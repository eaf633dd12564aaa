"""The small repository trained by the tools: against a plain loop of mmcv 1.x, resumed, split, halved, distributed."""

import ast
import json
from pathlib import Path

import pytest
import torch

from tests.conftest import load_script
from tests.engine.children import Child, ranks_of
from tests.mmcv1.layer import CONFIG, install_tiny, run


def _tool(name: str, *arguments: str) -> None:
    code = load_script(f'tools/{name}.py').main(list(arguments))
    assert not code, code


def losses_of(work_dir: Path) -> list[float]:
    rows = [
        json.loads(line)
        for path in sorted(work_dir.glob('*/vis_data/scalars.json'))
        for line in path.read_text().splitlines()
    ]
    return [row['loss'] for row in rows if 'loss' in row]


def train(tmp_path: Path, name: str, *arguments: str, config: Path = CONFIG) -> tuple[Path, str]:
    """Train in a process of its own; returns the work dir and what was printed."""
    work_dir = tmp_path / name
    text = run(tmp_path / f'{name}_log', _tool, 'train', str(config), '--work-dir', str(work_dir), *arguments)
    return work_dir, text


def weights_of(work_dir: Path, name: str = 'iter_6.pth') -> dict[str, torch.Tensor]:
    return torch.load(work_dir / name)['state_dict']


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Path, str]:
    """Return the work dir of a whole run, and what it printed."""
    return train(tmp_path_factory.mktemp('trained'), 'plain')


def _literal_loop(out: str) -> None:
    import mmcv
    from mmengine.registry import DefaultScope, init_default_scope

    from mmopt.apis.config import load_config
    from mmopt.engine.loading.build import build_dataloader

    lowered = load_config(CONFIG)
    from tinynet.models import MODELS

    cfg = mmcv.Config.fromfile(CONFIG)
    torch.manual_seed(0)
    with DefaultScope.overwrite_default_scope('mmengine'):
        model = MODELS.build(dict(cfg.model, train_cfg=cfg.train_cfg, test_cfg=cfg.test_cfg))
    model.init_weights()
    model.train()
    optimizer = mmcv.runner.build_optimizer(model, cfg.optimizer)
    init_default_scope('mmopt')
    losses = []
    for iteration, batch in zip(range(6), build_dataloader(lowered.train_dataloader, 0), strict=False):
        for group in optimizer.param_groups:
            group['lr'] = 0.1 * (1 - iteration / 6) ** 0.9
        outputs = model.train_step(batch, optimizer)
        optimizer.zero_grad()
        outputs['loss'].backward()
        optimizer.step()
        losses.append(outputs['loss'].item())
    torch.save(dict(losses=losses, state_dict=model.state_dict()), out)


def test_losses_and_weights_are_those_of_a_plain_loop_of_mmcv_1_over_the_same_batches(trained, tmp_path):
    run(tmp_path, _literal_loop, str(tmp_path / 'literal.pth'))
    literal = torch.load(tmp_path / 'literal.pth')
    assert losses_of(trained[0]) == literal['losses']
    weights = weights_of(trained[0])
    assert list(weights) == list(literal['state_dict'])
    assert all(torch.equal(weights[name], value) for name, value in literal['state_dict'].items())


def test_one_line_says_that_the_layer_is_on_and_which_version_it_reports(trained):
    lines = [line for line in trained[1].splitlines() if line.startswith('mmcv 1.x code: ')]
    reason = 'tinynet has TinySegmentor and is written for it'
    assert lines == [f'mmcv 1.x code: {reason}; the layer for it is on, and mmcv reports 1.5.3.']
    assert 'Traceback' not in trained[1]


def test_the_data_set_of_the_repository_measures_and_its_hook_logs(trained):
    rows = [json.loads(line) for line in next(trained[0].glob('*/vis_data/scalars.json')).read_text().splitlines()]
    assert [row['brightness'] for row in rows if 'brightness' in row]
    assert [row['noted'] for row in rows if 'noted' in row] == [1.0] * 6
    assert [row['third'] for row in rows if 'third' in row] == pytest.approx([step / 6 for step in range(6)])


@pytest.fixture(scope='module')
def lowered(trained) -> Path:
    """Return the run's own copy of its config."""
    # The tests' processes write it as one dict, which saves the formatting.
    content = ast.literal_eval((trained[0] / 'tiny.py').read_text())
    copy = trained[0] / 'copy.py'
    copy.write_text('\n'.join(f'{key} = {value!r}' for key, value in content.items()))
    return copy


def test_a_resumed_run_goes_on_bit_for_bit_from_its_own_copy_of_the_config(trained, lowered, tmp_path):
    resumed, _ = train(tmp_path, 'resumed', '--resume-from', str(trained[0] / 'iter_3.pth'), config=lowered)
    assert losses_of(resumed) == losses_of(trained[0])[3:]
    first, second = weights_of(trained[0]), weights_of(resumed)
    assert all(torch.equal(first[name], second[name]) for name in first)


EXACT = (
    '--options',
    "model.backbone.norm_cfg={'type':'GN','num_groups':2}",
    'model.backbone.drop=0',
    'data.samples_per_gpu=4',
)


def test_micro_batches_and_two_processes_are_one_batch(tmp_path):
    whole, _ = train(tmp_path, 'whole', *EXACT)
    parts, _ = train(tmp_path, 'parts', *EXACT, 'optimize.micro_batch=2')
    options = [option.replace('samples_per_gpu=4', 'samples_per_gpu=2') for option in EXACT]
    arguments = ('train', str(CONFIG), '--work-dir', str(tmp_path / 'two'), '--launcher', 'pytorch', *options)
    ranks = [
        Child(tmp_path / f'rank{rank}.txt', *arguments, target=_tool, environment=environment)
        for rank, environment in enumerate(ranks_of(2))
    ]
    for rank in ranks:
        assert not rank.finish(), rank.text
    reference = torch.tensor(losses_of(whole))
    torch.testing.assert_close(torch.tensor(losses_of(parts)), reference, rtol=1e-6, atol=0)
    torch.testing.assert_close(torch.tensor(losses_of(tmp_path / 'two')), reference, rtol=1e-6, atol=0)
    torch.testing.assert_close(weights_of(tmp_path / 'two'), weights_of(whole), rtol=1e-5, atol=1e-7)


def _train_in_half(work_dir: str, precision: str) -> None:
    _tool('train', str(CONFIG), '--work-dir', work_dir, '--precision', precision)
    from tinynet.models import TinySegmentor

    print('seen', *TinySegmentor.dtypes)


@pytest.mark.parametrize('precision', ['fp16', 'bf16'])
def test_losses_see_float32_and_images_half_while_mmopt_trains_in_half(trained, tmp_path, precision):
    text = run(tmp_path, _train_in_half, str(tmp_path / 'half'), precision)
    half = dict(fp16='torch.float16', bf16='torch.bfloat16')[precision]
    assert f'seen {half} torch.float32' in text
    losses, reference = losses_of(tmp_path / 'half'), losses_of(trained[0])
    assert losses != reference
    torch.testing.assert_close(torch.tensor(losses), torch.tensor(reference), rtol=0.05, atol=0)


def test_a_trained_checkpoint_is_tested_and_the_memory_of_a_step_is_estimated(trained, lowered, tmp_path):
    text = run(
        tmp_path / 't', _tool, 'test', str(lowered), str(trained[0] / 'iter_6.pth'), '--work-dir', str(tmp_path / 'out')
    )
    assert 'brightness' in text
    assert 'memory of a training step' in run(tmp_path / 'e', _tool, 'estimate_memory', str(CONFIG))


def test_several_optimizers_are_stepped_by_the_model_and_resume(tmp_path):
    config = tmp_path / 'gan.py'
    config.write_text(
        f"_base_ = [{str(CONFIG)!r}]\nmodel = dict(type='TinyGAN', channels=2, _delete_=True)\n"
        "optimizer = dict(generator=dict(type='SGD', lr=0.01), discriminator=dict(type='Adam', lr=0.01),\n"
        '    _delete_=True)\n'
        f"mmcv1 = dict(package='tinynet', root={str(CONFIG.parents[1])!r})\n"
        'data = dict(val=None)\nevaluation = None\nlr_config = None\ncustom_hooks = None\n'
    )
    whole, _ = train(tmp_path, 'gan', config=config)
    resumed, _ = train(tmp_path, 'gan_resumed', '--resume-from', str(whole / 'iter_3.pth'), config=config)
    first, second = weights_of(whole), weights_of(resumed)
    assert set(first) == {f'{part}.{kind}' for part in ('generator', 'discriminator') for kind in ('weight', 'bias')}
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first['generator.weight'], weights_of(whole, 'iter_3.pth')['generator.weight'])


def test_a_repositorys_own_step_and_schedule_replace_mmopts(tmp_path):
    config = tmp_path / 'own.py'
    text = (
        f'_base_ = [{str(CONFIG)!r}]\n'
        f"mmcv1 = dict(package='tinynet', root={str(CONFIG.parents[1])!r})\n"
        "lr_config = dict(policy='zigzag', by_epoch=False, _delete_=True)\n"
    )
    config.write_text(text + "optimizer_config = dict(type='HalvingOptimizerHook')\n")
    own, _ = train(tmp_path, 'own', config=config)
    rows = [json.loads(line) for line in next(own.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    assert [row['lr'] for row in rows if 'loss' in row] == pytest.approx([0.05, 0.1] * 3)
    # Half the gradient is half the learning rate, which mmopt's own step makes as well.
    config.write_text(text + 'optimizer = dict(lr=0.05)\n')
    halved, _ = train(tmp_path, 'halved', config=config)
    torch.testing.assert_close(torch.tensor(losses_of(own)), torch.tensor(losses_of(halved)), rtol=1e-5, atol=0)


def _look_at_hooks() -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        _tool('train', str(CONFIG), '--work-dir', folder)
    from tinynet.core import NoteHook

    assert NoteHook.seen[0] == ('run', 'TinySegmentor', 6, 0)
    assert [seen[0] for seen in NoteHook.seen[1:-1]] == list(range(6))
    assert NoteHook.seen[-1][0] == 'end'
    assert NoteHook.seen[-1][2] == [0.9] * 6


def test_hooks_see_the_attributes_of_a_runner_of_mmcv_1(tmp_path):
    run(tmp_path, _look_at_hooks)


def _look_at_missing_parts() -> None:
    from mmopt.apis.config import load_config
    from mmopt.apis.run.facts import build_dataset
    from mmopt.mmcv1.adapt.runner_view import RunnerView
    from mmopt.registry import MODELS
    from mmopt.utils.errors import UserError

    cfg = load_config(CONFIG)
    with pytest.raises(UserError, match="type='TinySegmenter' is registered nowhere; did you mean TinySegmentor"):
        MODELS.build(dict(type='MMCV1Model', model=dict(type='TinySegmenter')))
    cfg.train_dataloader.dataset.source['type'] = 'NoSuchDataset'
    with pytest.raises(UserError, match="dataset: type='NoSuchDataset' is registered nowhere; "):
        build_dataset(cfg, 'train_dataloader')
    with pytest.raises(UserError, match=r'runner\.no_such is not available to hooks of mmcv 1\.x here'):
        _ = RunnerView(None).no_such
    with pytest.raises(UserError, match="mmcv1.package='no_such': there is no such package"):
        load_config(CONFIG, options=["mmcv1={'package':'no_such'}"])
    with pytest.raises(UserError, match='mmcv1.packages is unknown; did you mean package'):
        load_config(CONFIG, options=["mmcv1={'packages':'x'}"])
    assert 'mmcv1' not in load_config(CONFIG, options=['mmcv1=False', 'data.val=None', 'evaluation=None']).model


def test_what_is_missing_is_named_with_a_remedy(tmp_path):
    run(tmp_path, _look_at_missing_parts)


def _first_look() -> None:
    from mmopt.mmcv1.__main__ import main

    assert main([str(CONFIG.parents[1] / 'tools/train.py'), 'some', '--arguments']) == 1
    assert main(['no/such/script.py']) == 2


def test_a_first_look_prints_what_a_script_lacks(tmp_path):
    text = run(tmp_path, _first_look)
    assert 'tinynet: 6 modules' in text
    assert 'missing: package some_missing_package is missing (first in ' in text
    assert 'not available, refused when it is used: mmcv.onnx.register_extra_symbolics' in text
    assert 'error: no/such/script.py does not exist' in text


def _adapters() -> None:
    install_tiny()
    from tinynet.models import TinyGAN, TinySegmentor

    from mmopt.mmcv1.adapt.model import drives_optimizers
    from mmopt.mmcv1.adapt.results import results_of

    assert drives_optimizers(TinyGAN.train_step)
    assert not drives_optimizers(TinySegmentor.train_step)
    assert results_of([1, 2]) == [1, 2]
    assert results_of(dict(preds=1)) == [dict(preds=1)]
    assert len(results_of(torch.zeros(3, 2).numpy())) == 3


def test_a_model_that_steps_is_told_from_one_that_passes_its_optimizer_on(tmp_path):
    run(tmp_path, _adapters)
