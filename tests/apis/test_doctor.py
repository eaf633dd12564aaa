"""The doctor's lines: each finding from facts made up by hand, and the whole on the toy run."""

import dataclasses

import pytest
from mmengine.config import Config

from mmopt.apis.doctor import Check, examine, format_checks
from mmopt.apis.doctor.disk import Disk, read_speed
from mmopt.apis.doctor.machine import Machine, check_machine
from mmopt.apis.doctor.settings import check_settings
from mmopt.apis.doctor.versions import Versions, _cudnn_text, check_versions, parse_version
from mmopt.utils.precision import cpu_device
from tests.engine.toy import toy_config

GOOD = Versions('2.13.0+cu128', '12.8', '9.20.0', '580.65', dict(mmengine='0.10.7', setuptools='80.1.0'))
MACHINE = Machine(
    (('NVIDIA A100', (8, 0), 79.0, 80.0),), 16, 64.0, 8.0, 'glibc', cpu_device(dict(bf16='AVX512-BF16')), 65536
)
DISK = Disk(2000.0, 5.0, 100.0)


def found(checks: list[Check], name: str) -> Check:
    matching = [check for check in checks if check.name == name]
    assert matching, f'{name} is not among {[check.name for check in checks]}'
    return matching[-1]


def settings_of(tmp_path, machine=MACHINE, num_train=24, folders=None, **changes) -> list[Check]:
    cfg = toy_config(tmp_path, **changes)
    return check_settings(cfg, machine, num_train=num_train, folders=folders or {'data/x': True}, disk=DISK)


def test_nothing_is_to_be_done_on_a_good_machine(tmp_path):
    amp = dict(type='AmpOptimWrapper', dtype='bfloat16')
    checks = check_versions(GOOD) + check_machine(MACHINE)
    checks += settings_of(tmp_path, train_dataloader=dict(num_workers=4), optim_wrapper=amp)
    assert [check for check in checks if check.remedy] == []


@pytest.mark.parametrize(
    ('change', 'name', 'text'),
    [
        (dict(cudnn='9.10.2'), 'cuDNN', 'fp16 or fp32'),
        (dict(torch='2.9.1+cu128'), 'torch', 'torch 2.10'),
        (dict(capabilities=[(9, 0)]), 'attention', 'TORCH_CUDNN_SDPA_DEPRIORITIZED=1'),
        (dict(torch='2.11.0+cu130', cudnn='9.19.0', capabilities=[(8, 0), (10, 0)]), 'attention', 'NaN'),
        (dict(driver='470.1'), 'driver', 'needs driver 525.60'),
        (dict(cuda=None), 'CUDA', 'CUDA build'),
        (dict(packages=dict(setuptools='81.0.0')), 'setuptools', 'setuptools<81'),
        (dict(packages={'mmcv': '2.2.0', 'mmcv-lite': '2.2.0'}), 'mmcv', 'one of them'),
    ],
)
def test_a_known_fault_of_a_version_is_named_with_its_remedy(change, name, text):
    check = found(check_versions(dataclasses.replace(GOOD, **change)), name)
    assert text in check.remedy


@pytest.mark.parametrize(
    'change',
    [
        dict(capabilities=[(8, 0), (12, 0)]),
        dict(capabilities=[(9, 0)], cudnn='9.15.0'),
        dict(capabilities=[(9, 0)], torch='2.10.0+cu128'),
    ],
)
def test_who_gets_no_attention_of_cudnn_is_told_nothing_of_it(change):
    assert 'attention' not in {check.name for check in check_versions(dataclasses.replace(GOOD, **change))}


def test_a_fault_of_3d_convolutions_is_for_models_that_have_them():
    faulty = dataclasses.replace(GOOD, cudnn='9.14.0')
    assert found(check_versions(faulty, has_conv3d=True), 'cuDNN').verdict == 'fault'
    assert found(check_versions(faulty, has_conv3d=None), 'cuDNN').verdict == 'advice'
    assert found(check_versions(faulty, has_conv3d=False), 'cuDNN').verdict == 'ok'


def test_versions_are_compared_by_their_numbers():
    assert parse_version('2.13.0+cu128') == (2, 13, 0) > parse_version('2.9.1rc2')
    assert parse_version('81.0.0.post1') == (81, 0, 0)
    assert (_cudnn_text(91002), _cudnn_text(8907), _cudnn_text(None)) == ('9.10.2', '8.9.7', None)


@pytest.mark.parametrize(
    ('change', 'name', 'text'),
    [
        (dict(gpus=(('A100', (8, 0), 20.0, 80.0),)), 'GPU 0', '60.0 GiB are taken'),
        (dict(num_cores=2), 'cores', '4 or more'),
        (dict(host_free_gib=2.0), 'host memory', 'workers_per_gpu'),
        (dict(shm_gib=0.0625), 'shared memory', '--shm-size'),
        (dict(malloc='other'), 'malloc', 'jemalloc'),
        (dict(open_files=256), 'open files', 'ulimit'),
    ],
)
def test_what_of_the_machine_holds_a_training_up_is_named(change, name, text):
    assert text in found(check_machine(dataclasses.replace(MACHINE, **change)), name).remedy


def gpu(name: str, *capability: int) -> Machine:
    return dataclasses.replace(MACHINE, gpus=((name, capability, 15.0, 16.0),))


CPU = dataclasses.replace(MACHINE, gpus=())


@pytest.mark.parametrize(
    ('machine', 'precision', 'remedy'),
    [
        (gpu('T4', 7, 5), 'bfloat16', '--precision fp16'),
        (gpu('P100', 6, 0), 'float16', '--precision fp32'),
        (gpu('P100', 6, 0), None, ''),
        (gpu('V100', 7, 0), None, '--precision fp16'),
        (MACHINE, None, '--precision bf16'),
        (CPU, 'float16', '--precision bf16'),
        (CPU, None, '--precision bf16'),
        (dataclasses.replace(CPU, cpu=cpu_device({})), 'bfloat16', '--precision fp32'),
        (dataclasses.replace(CPU, cpu=cpu_device({})), None, ''),
    ],
)
def test_a_precision_that_the_device_lacks_is_told(tmp_path, machine, precision, remedy):
    amp = {} if precision is None else dict(type='AmpOptimWrapper', dtype=precision)
    check = found(settings_of(tmp_path, machine, optim_wrapper=amp), 'precision')
    assert remedy in check.remedy
    assert bool(check.remedy) == bool(remedy)


@pytest.mark.parametrize(('workers', 'remedy'), [(32, '=15'), (17, '=15'), (0, 'waits'), (8, '')])
def test_workers_fit_the_machine(tmp_path, workers, remedy):
    check = found(settings_of(tmp_path, train_dataloader=dict(num_workers=workers)), 'workers')
    assert remedy in check.remedy
    assert bool(check.remedy) == bool(remedy)


def test_accumulation_that_does_not_divide_the_epoch_is_told(tmp_path):
    accumulating = dict(accumulative_counts=4)
    # 26 samples in batches of 4: 7 iterations.
    check = found(settings_of(tmp_path, by_epoch=True, num_train=26, optim_wrapper=accumulating), 'accumulation')
    assert '3 iterations are left over' in check.remedy
    assert not found(
        settings_of(tmp_path, by_epoch=True, num_train=32, optim_wrapper=accumulating), 'accumulation'
    ).remedy


def test_missing_data_is_a_fault(tmp_path):
    check = found(settings_of(tmp_path, folders={'data/x': True, 'data/y': False}), 'data')
    assert check.verdict == 'fault'
    assert 'data/y' in check.found


def test_the_speed_of_a_disk_needs_something_to_read(tmp_path):
    assert read_speed([tmp_path]) is None
    (tmp_path / 'below').mkdir()
    (tmp_path / 'below' / 'file').write_bytes(bytes(8 * 1024**2))
    assert read_speed([tmp_path]) > 1


def test_a_run_is_examined_as_a_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    checks = examine(Config(toy_config(tmp_path)))
    names = [check.name for check in checks]
    assert {'torch', 'driver', 'CUDA', 'cuDNN', 'malloc', 'shared memory', 'workers', 'data', 'loader'} <= set(names)
    text = format_checks(checks)
    assert len([line for line in text.splitlines() if '->' in line]) == sum(bool(check.remedy) for check in checks)


def test_a_data_set_that_cannot_be_made_is_a_line_and_no_traceback(tmp_path):
    cfg = toy_config(
        tmp_path, train_dataloader=dict(dataset=dict(type='ToyDataset', ann_file='no/such.json', nothing=1))
    )
    check = found(examine(Config(cfg)), 'data set')
    assert check.verdict == 'fault'
    assert 'nothing' in check.found
