"""What published repositories do beside training a model: own groups, runners, checkpoints, files of results."""

import json
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch

from mmopt.mmcv1.adapt.evaluation import MMCV1Evaluation
from mmopt.mmcv1.adapt.results import arguments_of_a_test, find_mask_encoder, with_encoded_masks
from mmopt.mmcv1.standins.activations import ReLU
from tests.mmcv1.layer import CONFIG, TINY, install_tiny, run
from tests.mmcv1.test_training import _tool, losses_of, train, weights_of

BASE = f"_base_ = [{str(CONFIG)!r}]\nmmcv1 = dict(package='tinynet', root={str(TINY)!r})\n"


@pytest.mark.parametrize('inplace', [False, True])
def test_what_a_relu_returns_may_be_added_to_as_old_heads_do(inplace):
    img = torch.tensor([-1.0, 0.0, 2.0, float('nan')], requires_grad=True)
    out = ReLU(inplace=inplace)(img * 1)
    torch.testing.assert_close(out, torch.relu(img), equal_nan=True)
    if not inplace:
        out += 1
    out[:3].sum().backward()
    assert img.grad.tolist() == [0, 0, 1, 0]


def _build_relu() -> None:
    install_tiny()
    from mmcv.cnn import ConvModule, build_activation_layer

    assert type(build_activation_layer(dict(type='ReLU', inplace=False))) is ReLU
    lateral = ConvModule(1, 1, 1, inplace=False)(torch.ones(1, 1, 2, 2))
    lateral += 1
    lateral.sum().backward()


def test_layers_of_a_repository_have_that_relu(tmp_path):
    run(tmp_path, _build_relu)


class _Store:
    """A data set that prints its numbers."""

    CLASSES = None

    def evaluate(self, results, logger=None):
        self.results = results


def test_a_data_set_that_only_prints_its_numbers_ends_no_run():
    metric = MMCV1Evaluation()
    metric.dataset = _Store()
    metric.process(None, [1, 2, 3])
    assert metric.evaluate(2) == {}
    assert metric.dataset.results == [1, 2]


def test_masks_are_packed_between_a_detector_and_its_data_set():
    boxes, masks = [np.zeros((1, 5))], [[np.ones((2, 2), bool)]]
    packed = with_encoded_masks([(boxes, masks), dict(ins_results=(boxes, masks)), boxes], lambda part: f'{len(part)}')
    assert packed == [(boxes, '1'), dict(ins_results=(boxes, '1')), boxes]
    assert find_mask_encoder(_Store) is None


def _build_groups() -> None:
    from mmopt.apis.config import load_config
    from mmopt.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS

    options = [
        "optimizer.constructor='LayerDecayOptimizerConstructor'",
        "optimizer.paramwise_cfg={'layer_decay_rate':0.5}",
    ]
    cfg = load_config(CONFIG, options=options)
    wrapper = dict(cfg.optim_wrapper)
    constructor = OPTIM_WRAPPER_CONSTRUCTORS.build(
        dict(type=wrapper.pop('constructor'), paramwise_cfg=wrapper.pop('paramwise_cfg'), optim_wrapper_cfg=wrapper)
    )
    groups = constructor(MODELS.build(cfg.model)).optimizer.param_groups
    assert {group['param_names'][0]: group['lr'] for group in groups}['head.weight'] == 0.1
    assert {group['param_names'][0]: group['lr'] for group in groups}['backbone.conv.conv.weight'] == 0.05


def test_a_repositorys_constructor_of_groups_goes_before_mmopts_of_the_same_name(tmp_path):
    run(tmp_path, _build_groups)


def _tune(config: str, out: str) -> None:
    from mmopt.apis.tune.command import TuneSettings, _Tuner

    tuner = _Tuner(config, (), TuneSettings(), None, Path(out), print, None)
    edits = tuner.edits(dict(batch=1, workers=2))
    assert {edit.key: edit.value for edit in edits} == {
        'data.samples_per_gpu': 1,
        'runner.accumulative_counts': 2,
        'runner.max_iters': 12,
        'checkpoint_config.interval': 6,
        'evaluation.interval': 6,
        'data.workers_per_gpu': 2,
    }


def test_the_tuner_edits_a_config_with_a_schedule_of_the_repositorys_own(tmp_path):
    config = tmp_path / 'own.py'
    config.write_text(BASE + "lr_config = dict(policy='zigzag', by_epoch=False, _delete_=True)\n")
    run(tmp_path, _tune, str(config), str(tmp_path))


def _publish(path: Path, state: dict, form: str) -> None:
    """Write weights as mmcv 1.x published them."""
    names = {name: f'module.{name}' if form == 'module' else name for name in state}
    state = OrderedDict((names[name], value) for name, value in state.items())
    state._metadata = OrderedDict({'': dict(version=1)})
    meta = dict(
        mmcv_version='1.3.9',
        mmseg_version='0.18.0+1f5b3c2',
        env_info='sys.platform: linux\nPyTorch: 1.7.0',
        config='model = dict()\nrunner = dict(type="IterBasedRunner")',
        time='Mon Jul  5 11:02:11 2021',
        seed=np.int64(0),
        epoch=3,
        iter=np.int64(160000),
        CLASSES=('dark', 'bright'),
        PALETTE=np.array([[0, 0, 0], [255, 255, 255]]),
        hook_msgs=dict(best_score=np.float64(0.5), best_ckpt='best.pth'),
    )
    content = dict(meta=meta, state_dict=state, optimizer=dict(state={}, param_groups=[]))
    if form == 'bare':
        content = OrderedDict(state)
    torch.save(content, path, _use_new_zipfile_serialization=form != 'legacy')


@pytest.mark.parametrize('form', ['plain', 'module', 'legacy', 'bare'])
def test_published_weights_load_by_the_names_of_the_repository(tmp_path, form):
    generator = torch.Generator().manual_seed(1)
    state = {
        'backbone.conv.conv.weight': torch.randn(4, 3, 3, 3, generator=generator),
        'backbone.conv.bn.weight': torch.rand(4, generator=generator),
        'backbone.conv.bn.bias': torch.rand(4, generator=generator),
        'backbone.conv.bn.running_mean': torch.rand(4, generator=generator),
        'backbone.conv.bn.running_var': torch.rand(4, generator=generator),
        'backbone.conv.bn.num_batches_tracked': torch.tensor(7),
        'head.weight': torch.randn(2, 4, 1, 1, generator=generator),
        'head.bias': torch.randn(2, generator=generator),
    }
    _publish(tmp_path / 'published.pth', state, form)
    arguments = ['--load-from', str(tmp_path / 'published.pth'), '--options', 'optimizer.lr=0', 'runner.max_iters=1']
    work_dir, text = train(
        tmp_path, form, *arguments, 'evaluation=None', 'data.val=None', 'checkpoint_config.interval=1'
    )
    assert 'Traceback' not in text
    trained = weights_of(work_dir, 'iter_1.pth')
    assert list(trained) == list(state)
    same = [name for name in state if 'running' not in name and 'tracked' not in name]
    assert all(torch.equal(trained[name], state[name]) for name in same)
    assert trained['backbone.conv.bn.num_batches_tracked'] == 8


def _load_backbone(path: str) -> None:
    install_tiny()
    from mmcv.runner import load_checkpoint
    from tinynet.models import TinyBackbone

    backbone = TinyBackbone(4, norm_cfg=dict(type='BN'))
    load_checkpoint(backbone, path, map_location='cpu', revise_keys=[(r'^backbone\.', '')])
    assert backbone.conv.conv.weight.eq(3).all()
    initialized = TinyBackbone(4, norm_cfg=dict(type='BN'), init_cfg=dict(type='Pretrained', checkpoint=path))
    initialized.init_cfg['prefix'] = 'backbone.'
    initialized.conv.norm.weight.data.fill_(5)
    super(TinyBackbone, initialized).init_weights()
    assert initialized.conv.conv.weight.eq(3).all()


def test_a_backbone_takes_its_part_of_published_weights(tmp_path):
    state = {'backbone.conv.conv.weight': torch.full((4, 3, 3, 3), 3.0)}
    _publish(tmp_path / 'published.pth', state, 'plain')
    run(tmp_path, _load_backbone, str(tmp_path / 'published.pth'))


@pytest.fixture(scope='module')
def trained(tmp_path_factory) -> tuple[Path, str]:
    """Return the work dir of a run by a runner of the repository's own, and what was printed."""
    tmp_path = tmp_path_factory.mktemp('repository')
    config = tmp_path / 'runner.py'
    config.write_text(BASE + "runner = dict(type='TinyRunner')\nevaluation = dict(pre_eval=False)\n")
    return train(tmp_path, 'run', '--options', 'runner.max_iters=3', config=config)


def test_a_runner_that_only_the_scripts_of_a_repository_import_is_found(trained):
    assert len(losses_of(trained[0])) == 3
    assert "runner.type='TinyRunner': mmopt drives the training and does not run" in trained[1]
    assert 'of its own: train.' in ' '.join(trained[1].split())


def _write_results(config: str, checkpoint: str, folder: str) -> None:
    options = ['evaluation.format_only=True', f'evaluation.prefix={folder}', 'data.test.samples_per_gpu=2']
    options.append('data.test.upright=True')
    _tool('test', config, checkpoint, '--work-dir', f'{folder}/log', '--options', *options)


def test_results_are_written_as_the_data_set_formats_them_also_in_batches(trained, tmp_path):
    config = tmp_path / 'same.py'
    config.write_text(BASE)
    out = tmp_path / 'out'
    out.mkdir()
    run(tmp_path, _write_results, str(config), str(trained[0] / 'iter_3.pth'), str(out))
    shapes = [np.array(json.loads((out / f'{index}.json').read_text())).shape for index in range(4)]
    assert shapes == [(12, 8)] * 4


def _empty() -> None:
    from mmopt.apis.config import load_config
    from mmopt.apis.run.facts import build_dataset
    from mmopt.utils.errors import UserError

    cfg = load_config(CONFIG, options=['data.train.num=0'])
    with pytest.raises(UserError, match='TinyDataset of tinynet.datasets has no samples'):
        build_dataset(cfg, 'train_dataloader')


def test_a_data_set_without_samples_is_called_by_its_own_name(tmp_path):
    run(tmp_path, _empty)


class _Restorer:
    def forward(self, lq, gt=None, test_mode=False):
        raise NotImplementedError


class _Detector:
    def forward(self, img, img_metas, return_loss=True):
        raise NotImplementedError

    def simple_test(self, img, rescale=False):
        raise NotImplementedError


def test_a_model_is_asked_for_predictions_as_its_own_test_loop_asks():
    assert arguments_of_a_test(_Restorer) == dict(test_mode=True)
    assert arguments_of_a_test(_Detector) == dict(return_loss=False, rescale=True)
    assert MMCV1Evaluation(metric='PSNR', save_image=True).arguments == dict(metric='PSNR')


def test_a_hook_that_changes_the_pipeline_and_restarts_the_workers_reaches_them(tmp_path):
    config = tmp_path / 'switch.py'
    config.write_text(
        BASE + "runner = dict(type='TinyEpochRunner', max_epochs=3, _delete_=True)\n"
        'data = dict(workers_per_gpu=1, samples_per_gpu=4, persistent_workers=True, val=None,\n'
        '    train=dict(with_flag=False))\nevaluation = None\n'
        "lr_config = dict(policy='fixed', _delete_=True)\ncustom_hooks = [dict(type='SwitchHook')]\n"
    )
    work_dir, _ = train(tmp_path, 'switch', '--options', 'data.train.upright=True', config=config)
    rows = [json.loads(line) for line in next(work_dir.glob('*/vis_data/scalars.json')).read_text().splitlines()]
    means = [row['mean'] for row in rows if 'mean' in row]
    first, second, third = (sum(means[start : start + 3]) for start in (0, 3, 6))
    assert second == pytest.approx(third, rel=1e-5)
    assert first != pytest.approx(second, rel=1e-3)
