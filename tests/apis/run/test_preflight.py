import copy
from dataclasses import replace

import pytest
import torch
from mmengine.config import Config

from mmopt.apis.run.check_model import ModelFacts
from mmopt.apis.run.facts import Facts, Start, collect_facts, data_folders, world_size_of
from mmopt.apis.run.preflight import describe_run
from mmopt.utils.precision import cpu_device, cuda_device, mps_device
from tests.engine.toy import toy_config

CFG = dict(
    train_dataloader=dict(batch_size=8, num_workers=2, drop_last=False),
    val_dataloader=dict(batch_size=1, num_workers=2),
    val_cfg=dict(type='ValLoop'),
    train_cfg=dict(type='IterBasedTrainLoop', max_iters=300, val_interval=100, val_at_end=True),
    optim_wrapper=dict(type='OptimWrapper', optimizer=dict(type='AdamW', lr=4e-4), accumulative_counts=2),
    param_scheduler=[dict(type='ClosedFormLR', policy='poly', by_epoch=False, warmup='linear', warmup_iters=50)],
    default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=100)),
    work_dir='runs/x',
)
FACTS = Facts(
    device='NVIDIA H200, 139.7 GiB',
    on_gpu=True,
    num_cores=16,
    torch_version='2.13.0',
    torch_has_cuda=True,
    gpu_driver=True,
    world_size=2,
    num_train=1600,
    num_val=80,
    folders={'data/nuscenes/img_dir/train': True, 'data/nuscenes/calib.json': True},
    compute=cuda_device((9, 0)),
)
CPU = replace(
    FACTS,
    device='CPU',
    on_gpu=False,
    gpu_driver=False,
    torch_has_cuda=False,
    world_size=1,
    compute=cpu_device(dict(bf16='AMX')),
)


def changed(**sections) -> dict:
    cfg = copy.deepcopy(CFG)
    for name, values in sections.items():
        cfg[name] = {**cfg[name], **values} if isinstance(cfg.get(name), dict) else values
    return cfg


def entries(cfg=CFG, facts=FACTS) -> dict[str, str]:
    return dict(describe_run(cfg, facts).entries)


def warnings(cfg=CFG, facts=FACTS) -> str:
    return '\n'.join(describe_run(cfg, facts).warnings)


@pytest.mark.parametrize(
    ('model', 'text'),
    [
        (ModelFacts((), 'V7', 3_176_139), 'V7, 3,176,139 parameters (12.1 MiB in fp32)'),
        (
            ModelFacts((), 'YOLOv5', 21_172_173, 7_000_000),
            'YOLOv5, 21,172,173 parameters, 7,000,000 of them frozen (80.8 MiB in fp32)',
        ),
        (ModelFacts((), 'Lazy'), 'Lazy, its parameters are counted with the first batch'),
    ],
)
def test_the_model_is_named_with_its_parameters(model, text):
    assert entries(facts=replace(FACTS, model=model))['model'] == text


def test_a_sound_run_is_described_without_a_warning():
    assert warnings() == ''
    assert entries() == {
        'device': 'NVIDIA H200, 139.7 GiB (2 processes, 16 cores, torch 2.13.0)',
        'precision': 'fp32',
        'batch': '8 per iteration x 2 accumulated x 2 processes = 32 per step',
        'learning rate': '0.0004 (AdamW), poly, linear warm-up over 50 iterations',
        'samples': '1,600 train, 80 val',
        'length': '300 iterations (3 epochs)',
        'evaluation': 'every 100 iterations',
        'data': 'data/nuscenes: img_dir/train, calib.json found',
        'work dir': 'runs/x',
    }


def test_lines_are_short_and_the_title_comes_first():
    lines = str(describe_run(CFG, FACTS, name='configs/x.py')).splitlines()
    assert lines[0] == 'configs/x.py'
    assert max(map(len, lines)) < 100


@pytest.mark.parametrize(
    ('wrapper', 'text'),
    [
        (dict(type='AmpOptimWrapper', dtype='float16', loss_scale=512.0), 'fp16, static loss scale 512'),
        (dict(type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic'), 'fp16, dynamic loss scale'),
        (dict(type='AmpOptimWrapper', dtype='bfloat16'), 'bf16'),
    ],
)
def test_the_precision_is_named(wrapper, text):
    assert entries(changed(optim_wrapper=wrapper))['precision'] == text


def test_many_epochs_are_a_plain_number():
    cfg = changed(train_cfg=dict(max_iters=200_000))
    assert entries(cfg)['length'] == '200,000 iterations (2,000 epochs)'


def test_epoch_based_runs_count_epochs():
    cfg = changed(train_cfg=dict(max_iters=None, max_epochs=12, val_interval=1))
    assert entries(cfg)['length'] == '1,200 iterations (12 epochs)'
    assert entries(cfg)['evaluation'] == 'every epoch'


def test_a_resumed_run_says_where_it_goes_on():
    cfg = changed() | dict(load_from='runs/x/best_mIoU.pth', resume=True)
    assert (
        entries(cfg, replace(FACTS, start=Start(120)))['start']
        == 'after iteration 120, 180 to go: runs/x/best_mIoU.pth'
    )
    assert entries(cfg)['start'] == 'weights of runs/x/best_mIoU.pth'
    assert 'nothing is left to train' in warnings(cfg, replace(FACTS, start=Start(300)))


def test_a_cpu_build_of_torch_on_a_gpu_machine_is_noticed():
    assert 'torch 2.13.0 is a CPU build' in warnings(facts=replace(CPU, gpu_driver=True))
    assert 'torch sees no GPU' in warnings(facts=replace(CPU, gpu_driver=True, torch_has_cuda=True))


AUTO = dict(type='AmpOptimWrapper', dtype='auto', loss_scale='dynamic')
AVX2 = replace(CPU, compute=cpu_device({}), emulation_cost=1.23)


@pytest.mark.parametrize(
    ('facts', 'section', 'text'),
    [
        (CPU, AUTO, 'bf16 (auto: this CPU multiplies it itself (AMX))'),
        (AVX2, AUTO, 'fp32 (auto: this CPU has no bf16 arithmetic; this CPU has no fp16 arithmetic)'),
        (AVX2, AUTO | dict(allow=['bf16']), 'fp32 (auto: this CPU has no bf16 arithmetic)'),
        (
            replace(FACTS, compute=cuda_device((7, 5))),
            AUTO,
            'fp16 (auto: tensor cores multiply it (compute capability 7.5)), dynamic loss scale',
        ),
        (replace(AVX2, start=Start(10, 'bf16')), AUTO, 'bf16 (auto: as the run was begun)'),
        (replace(AVX2, start=Start(10)), AUTO | dict(allow=['fp16']), 'fp32 (auto: this CPU has no fp16 arithmetic)'),
    ],
)
def test_an_automatic_precision_is_named_with_its_reason(facts, section, text):
    assert entries(changed(optim_wrapper=section), facts)['precision'] == text


@pytest.mark.parametrize(
    ('facts', 'dtype', 'text'),
    [
        (
            AVX2,
            'bfloat16',
            'bf16 is emulated: this CPU has no bf16 arithmetic. Products and convolutions take 1.2 times',
        ),
        (AVX2, 'float16', '--precision fp32 is faster'),
        (replace(CPU, emulation_cost=1.1), 'float16', '--precision bf16 is faster'),
        (
            replace(FACTS, compute=cuda_device((6, 0))),
            'float16',
            'fp16 saves memory here, but no time: GPUs before Volta',
        ),
        (replace(FACTS, compute=cuda_device((7, 5))), 'bfloat16', '--precision fp16 is faster'),
        (replace(FACTS, compute=mps_device(has_bf16=False)), 'bfloat16', 'bf16 needs macOS 14 (--precision fp16)'),
    ],
)
def test_a_precision_that_the_device_does_not_compute_itself_is_warned_of(facts, dtype, text):
    assert text in warnings(changed(optim_wrapper=dict(type='AmpOptimWrapper', dtype=dtype)), facts)


@pytest.mark.parametrize('facts', [FACTS, CPU, AVX2])
def test_nobody_is_warned_of_what_the_device_computes_itself(facts):
    assert 'emulated' not in warnings(facts=facts)
    assert 'emulated' not in warnings(changed(optim_wrapper=AUTO), facts)


def test_more_workers_than_cores_are_noticed():
    cfg = changed(train_dataloader=dict(num_workers=12))
    assert '12 workers x 2 processes on 16 cores' in warnings(cfg)


def test_an_unscaled_learning_rate_gives_the_scaled_one():
    cfg = changed() | dict(auto_scale_lr=dict(base_batch_size=16, enable=False))
    assert 'written for 16 samples per step, not 32: linear scaling gives 0.0008' in warnings(cfg)
    assert warnings(changed() | dict(auto_scale_lr=dict(base_batch_size=32))) == ''
    assert warnings(changed() | dict(auto_scale_lr=dict(base_batch_size=16, enable=True))) == ''
    assert 'written for 8' in warnings(changed() | dict(optimize=dict(base_batch=8)))


@pytest.mark.parametrize(
    ('size', 'text'), [('auto', ', in the largest parts that fit'), (2, ', in parts of 2'), (8, ''), (None, '')]
)
def test_the_parts_of_a_batch_are_shown(size, text):
    batch = entries(changed() | dict(optimize=dict(micro_batch=size)))['batch']
    assert batch == f'8 per iteration x 2 accumulated x 2 processes = 32 per step{text}'


def test_a_scaled_learning_rate_is_shown_with_its_reason_and_no_warning():
    cfg = changed() | dict(optimize=dict(scale_lr='linear', base_batch=16))
    assert entries(cfg)['learning rate'].startswith('0.0008, linear scaling from 16 to 32 samples per step (AdamW)')
    assert warnings(cfg) == ''


def test_intervals_longer_than_the_run_are_noticed():
    assert 'evaluates only at the end' in warnings(changed(train_cfg=dict(val_interval=2000)))
    assert 'never evaluates' in warnings(changed(train_cfg=dict(val_interval=2000, val_at_end=False)))
    assert entries(changed(train_cfg=dict(val_interval=2000)))['evaluation'] == 'at the end'
    cfg = changed(default_hooks=dict(checkpoint=dict(interval=2000, save_last=False)))
    assert 'it saves no checkpoint' in warnings(cfg)


def test_a_warm_up_longer_than_the_run_gives_a_remedy():
    cfg = changed(train_cfg=dict(max_iters=40, val_interval=20))
    assert 'warm-up takes 50 iterations, the run 40' in warnings(cfg)
    assert 'lr_config.warmup_iters=4' in warnings(cfg)


def test_an_incomplete_last_step_is_noticed():
    assert '301 iterations are no multiple of 2' in warnings(changed(train_cfg=dict(max_iters=301)))


def test_a_batch_larger_than_the_data_set_is_noticed():
    assert 'takes 16 samples and the data set has 10' in warnings(facts=replace(FACTS, num_train=10))


def test_missing_folders_are_shown():
    facts = replace(FACTS, folders={'data/a': True, 'data/b': False})
    assert entries(facts=facts)['data'] == 'MISSING data/b'


def test_the_config_is_not_changed():
    cfg = changed()
    describe_run(cfg, FACTS)
    assert cfg == CFG


def test_folders_are_found_through_wrappers(tmp_path):
    class Files:
        def __init__(self, path) -> None:
            self.calib_file = path

    class Repeat:
        def __init__(self, dataset) -> None:
            self.dataset = dataset

    class Concat:
        def __init__(self, datasets) -> None:
            self.datasets = datasets

    dataset = Concat([Repeat(Files(tmp_path)), Files(tmp_path / 'no')])
    assert data_folders(dataset) == {str(tmp_path): True, str(tmp_path / 'no'): False}


def test_the_launcher_tells_the_number_of_processes(monkeypatch):
    monkeypatch.setenv('WORLD_SIZE', '4')
    monkeypatch.setenv('SLURM_NTASKS', '8')
    assert [world_size_of(launcher) for launcher in ('none', 'pytorch', 'slurm')] == [1, 4, 8]


def test_phases_are_shown_and_counted():
    phases = [dict(until_epoch=4, freeze=['backbone'], batch_size=8), dict(batch_size=4)]
    cfg = changed(train_cfg=dict(type='EpochBasedTrainLoop', max_iters=None, max_epochs=10, phases=phases))
    assert entries(cfg, CPU)['batch'] == (
        'epochs 1 to 4: 8 per iteration, backbone frozen; epochs 5 to 10: 4 per iteration'
    )
    # 1600 samples: 200 iterations per epoch, then 400.
    assert entries(cfg, CPU)['length'] == '3,200 iterations (10 epochs)'
    assert entries(cfg, CPU)['evaluation'] == 'at the end'


@pytest.mark.parametrize(('has_mps', 'expected'), [(True, "Apple's GPU (MPS)"), (False, 'CPU')])
def test_a_machine_without_cuda_computes_on_apples_gpu_or_the_cpu(tmp_path, monkeypatch, has_mps, expected):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    monkeypatch.setattr(torch.backends.mps, 'is_available', lambda: has_mps)
    assert collect_facts(Config(toy_config(tmp_path))).device == expected
