"""Several processes over gloo against one process with the same global batch."""

from pathlib import Path

import pytest
import torch
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from torch import nn

from mmopt.engine.checkpoint_io.global_batch import check_global_batch
from mmopt.engine.parallel.fsdp import check_sharding
from mmopt.registry import HOOKS, MODELS
from mmopt.utils.distributed import first_host
from mmopt.utils.errors import UserError
from tests.engine.children import Child, ranks_of
from tests.engine.test_runner import build, losses_of, state_of
from tests.engine.toy import ToyModel, toy_config

FSDP = dict(type='FSDP', min_params=10)
ITERS = 6


@MODELS.register_module(force=True)
class DeepToyModel(ToyModel):
    """Blocks in a list, so that FSDP has something to shard by itself, and BatchNorm over all ranks where wanted."""

    def __init__(self, norm: str = 'LN', **kwargs) -> None:
        super().__init__(dropout=0.0, **kwargs)
        self.norm = nn.SyncBatchNorm(16) if norm == 'SyncBN' else nn.LayerNorm(16)
        blocks = [nn.Sequential(nn.Linear(2, 16), nn.ReLU(), nn.Linear(16, 2)) for _ in range(2)]
        self.blocks = nn.ModuleList(blocks)

    def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        for block in self.blocks:
            inputs = inputs + block(inputs)
        return super().forward(inputs, data_samples, mode, normalizers)


@HOOKS.register_module(force=True)
class ReadOnOneRank(Hook):
    """Somebody's hook that reads the loss of every iteration where it prints it."""

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if get_rank() == 0:
            losses, _ = runner.message_hub.get_scalar('train/loss').data
            assert len(losses) == runner.iter + 1
            is_logged = (runner.iter + 1) % 2 == 0  # then it is the mean over the ranks
            assert is_logged or losses[-1] == pytest.approx(outputs['loss'].item())


def config(work_dir: Path, processes: int, norm: str = 'LN', **changes) -> dict:
    cfg = toy_config(
        work_dir,
        model=dict(type='DeepToyModel', norm=norm),
        # Adam would divide rounding errors by themselves.
        optim_wrapper=dict(
            optimizer=dict(type='SGD', lr=0.05, momentum=0.9), accumulative_counts=2, clip_grad=dict(max_norm=1.0)
        ),
        launcher='none' if processes == 1 else 'pytorch',
        # Checkpoints at 3 and 6: at 3 gradients wait for their step. Evaluation: 5 and 4 samples, 2 batches and 1.
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=3, by_epoch=False)),
        **changes,
    )
    cfg['train_cfg'] |= dict(max_iters=ITERS, val_interval=3)
    cfg['train_dataloader']['batch_size'] = 4 // processes
    cfg['val_dataloader']['dataset']['length'] = 9
    return cfg


def train(cfg: dict) -> None:
    """Train in a child, which imports this module, and with it the model, to find the function."""
    build(cfg).train()


def run_ranks(cfg: dict, processes: int = 2, environments: list[dict] | None = None) -> list[Child]:
    outputs = Path(cfg['work_dir'])
    children = [
        Child(outputs / f'output{rank}.txt', cfg, target=train, environment=environment)
        for rank, environment in enumerate(environments or ranks_of(processes))
    ]
    codes = [child.finish() for child in children]
    assert codes == [0] * processes, '\n'.join(child.text for child in children)
    return children


def weights_in(path: Path) -> dict:
    return torch.load(path, weights_only=True)['state_dict']


def assert_close(one: dict, other: dict, rtol: float = 1e-5, atol: float = 1e-6) -> None:
    assert one.keys() == other.keys()
    # By name: assert_close says in which place of a mapping the difference is.
    torch.testing.assert_close(dict(other), dict(one), rtol=rtol, atol=atol)


@pytest.fixture(scope='module')
def alone(tmp_path_factory) -> Path:
    """Return the work dir of a run in one process."""
    folder = tmp_path_factory.mktemp('alone')
    build(config(folder, 1)).train()
    return folder


def test_logged_losses_are_those_of_the_global_batch(tmp_path, alone):
    """Rank 0's own are off by percents: its samples and their weights are others."""
    run_ranks(config(tmp_path, 2))
    assert_close(weights_in(alone / 'iter_6.pth'), weights_in(tmp_path / 'iter_6.pth'))
    assert losses_of(tmp_path) == pytest.approx(losses_of(alone), rel=1e-5)


def test_a_run_goes_on_with_another_number_of_processes(tmp_path, alone):
    run_ranks(config(tmp_path, 2))
    resumed = build(config(tmp_path, 1, resume=True, load_from=str(tmp_path / 'iter_3.pth')))
    resumed.train()
    assert_close(weights_in(alone / 'iter_6.pth'), state_of_model(resumed))
    log = (tmp_path / 'latest.log').read_text()
    assert 'the random state of 2 processes, there are 1 now' in log


def state_of_model(runner) -> dict:
    return {name: value for name, value in state_of(runner).items() if not name.startswith('optim.')}


def test_another_global_batch_is_refused_with_what_keeps_it():
    meta = dict(world_size=2, batch_size=4)
    for batch_size, world_size in ((8, 1), (2, 4), (1, 2)):  # the last says itself that it wants another one
        check_global_batch(meta, batch_size, world_size)
    with pytest.raises(UserError, match=r'2 x 4 = 8 samples .* 4 x 4 = 16: write data.samples_per_gpu=2 to keep it'):
        check_global_batch(meta, 4, 4)
    with pytest.raises(UserError, match=r'no batch size keeps it on 3 processes: use 1, 2, 4, 8, or accept .*=False'):
        check_global_batch(meta, 4, 3)
    check_global_batch({}, 4, 4)  # a checkpoint of another library


def test_batch_norm_over_two_ranks_is_that_of_the_global_batch(tmp_path):
    build(config(tmp_path / 'alone', 1, 'SyncBN')).train()
    run_ranks(config(tmp_path / 'two', 2, 'SyncBN'))
    alone, two = (weights_in(tmp_path / name / 'iter_6.pth') for name in ('alone', 'two'))
    # Channels of nearly equal values divide by small deviations; float64 in ddp_worker is exact to 1e-10.
    assert_close(alone, two, rtol=1e-2, atol=1e-4)
    assert float(two['norm.running_mean'].abs().max()) > 0.01


def test_a_sharded_run_equals_one_process_and_its_checkpoints_go_on_there_and_back(tmp_path, alone):
    """FSDP2; the checkpoint in the middle has waiting gradients, the evaluations are uneven."""
    run_ranks(config(tmp_path / 'two', 2, model_wrapper_cfg=FSDP))
    whole, sharded = (torch.load(folder / 'iter_6.pth', weights_only=True) for folder in (alone, tmp_path / 'two'))
    assert_close(whole['state_dict'], sharded['state_dict'])
    for number, slots in whole['optimizer']['state'].items():
        assert_close(slots, sharded['optimizer']['state'][number])
    assert losses_of(tmp_path / 'two') == pytest.approx(losses_of(alone), rel=1e-5)
    middle = tmp_path / 'two' / 'iter_3.pth'
    resumed = build(config(tmp_path / 'one', 1, resume=True, load_from=str(middle)))
    resumed.train()
    assert_close(whole['state_dict'], state_of_model(resumed))
    changes = dict(model_wrapper_cfg=FSDP, resume=True, load_from=str(alone / 'iter_3.pth'))
    run_ranks(config(tmp_path / 'back', 2, **changes))
    assert_close(whole['state_dict'], weights_in(tmp_path / 'back' / 'iter_6.pth'))


def test_sharding_refuses_averaged_weights_and_fp16_and_says_when_it_has_no_effect(tmp_path):
    runner = build(config(tmp_path, 1, model_wrapper_cfg=FSDP))
    assert "model_wrapper='fsdp' has no effect with one process" in (tmp_path / 'latest.log').read_text()
    runner.cfg['custom_hooks'] = [dict(type='EMAHook')]
    with pytest.raises(UserError, match='averaged weights'):
        check_sharding(runner.cfg)
    runner.cfg['custom_hooks'] = []
    check_sharding(runner.cfg)
    runner.cfg['optim_wrapper'] = dict(type='AmpOptimWrapper', dtype='bfloat16')
    check_sharding(runner.cfg)
    runner.cfg['optim_wrapper'] = dict(type='AmpOptimWrapper', loss_scale='dynamic')
    with pytest.raises(UserError, match='does not work with fp16'):
        check_sharding(runner.cfg)


def test_slurm_variables_start_the_same_run(tmp_path, alone):
    ranks = ranks_of(2)
    environments = [
        dict(
            SLURM_PROCID=environment['RANK'],
            SLURM_NTASKS='2',
            SLURM_LOCALID=environment['RANK'],
            SLURM_JOB_NODELIST='127.0.0.1',
            MASTER_PORT=environment['MASTER_PORT'],
        )
        for environment in ranks
    ]
    run_ranks(config(tmp_path, 2) | dict(launcher='slurm'), environments=environments)
    assert_close(weights_in(alone / 'iter_6.pth'), weights_in(tmp_path / 'iter_6.pth'))


@pytest.mark.parametrize(
    ('node_list', 'host'),
    [
        ('node3', 'node3'),
        ('node[3-5,8]', 'node3'),
        ('gpu-a[03-05],gpu-b1', 'gpu-a03'),
        ('gpu-a01,gpu-a02', 'gpu-a01'),
        ('rack[1,4]-gpu', 'rack1-gpu'),
    ],
)
def test_the_first_host_of_a_slurm_list(node_list, host):
    assert first_host(node_list) == host


def test_an_empty_slurm_list_is_refused_with_what_to_set():
    with pytest.raises(ValueError, match="no host in SLURM_JOB_NODELIST=''; set MASTER_ADDR"):
        first_host('')


def test_one_rank_may_read_the_message_hub_and_the_log_is_still_the_mean_of_all(tmp_path):
    one = config(tmp_path / 'one', 1)
    two = config(tmp_path / 'two', 2, custom_hooks=[dict(type='ReadOnOneRank')])
    train(one)
    run_ranks(two)
    assert losses_of(tmp_path / 'two') == pytest.approx(losses_of(tmp_path / 'one'), rel=1e-4)


@MODELS.register_module(force=True)
class LazyToyModel(ToyModel):
    """Has a layer that no loss uses, from the first or from the third iteration on."""

    def __init__(self, uses: int = 0, **kwargs) -> None:
        super().__init__(dropout=0.0, **kwargs)
        self.spare = nn.Linear(2, 2)
        self.uses = uses
        self.calls = 0

    def forward(self, inputs, data_samples=None, mode='tensor', normalizers=None):
        self.calls += 1
        if self.calls <= self.uses:
            inputs = inputs + self.spare(inputs)
        return super().forward(inputs, data_samples, mode, normalizers)


@pytest.mark.parametrize('uses', [0, 2])
def test_parameters_that_no_loss_uses_are_named_with_the_remedy(tmp_path, uses):
    cfg = config(tmp_path, 2)
    cfg['model'] = dict(type='LazyToyModel', uses=uses)
    cfg['optim_wrapper'].pop('accumulative_counts')
    children = [
        Child(tmp_path / f'output{rank}.txt', cfg, target=train, environment=environment)
        for rank, environment in enumerate(ranks_of(2))
    ]
    assert 2 in [child.finish() for child in children]
    text = ''.join(child.text for child in children)
    assert 'No loss depends on 2 parameters (spare.weight, spare.bias)' in text
    assert 'find_unused_parameters=True' in text
    assert 'Traceback' not in text


def test_find_unused_parameters_trains_on(tmp_path):
    cfg = config(tmp_path, 2, find_unused_parameters=True)
    cfg['model'] = dict(type='LazyToyModel')
    run_ranks(cfg)
