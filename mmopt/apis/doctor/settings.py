"""What of a config does not fit the machine or the data: workers, accumulation, precision, folders, disk."""

from collections.abc import Iterator, Mapping
from typing import Any

from mmopt.apis.doctor.check import Check
from mmopt.apis.doctor.disk import Disk
from mmopt.apis.doctor.machine import Machine
from mmopt.config.precision import AUTO, allowed_precisions, precision_of
from mmopt.config.spelling import spelled
from mmopt.utils.precision import choose_precision

__all__ = ['check_settings']

_MANY_WORKERS = 16


def check_settings(
    cfg: Mapping[str, Any], machine: Machine, *, num_train: int, folders: Mapping[str, bool], disk: Disk | None
) -> list[Check]:
    """Compare a lowered config with machine and data.

    Args:
        cfg: A lowered config.
        machine: What there is.
        num_train: Training samples; 0 where the data set could not be made.
        folders: Data folders and whether each is there.
        disk: Speed of the data's disk and loader; None where nothing could be read.

    Returns:
        A line per thing.
    """
    checks = [_folders(folders), _workers(cfg, machine), *_accumulation(cfg, num_train), _precision(cfg, machine)]
    if disk is not None:
        checks += list(_reading(cfg, machine, disk))
    return checks


def _folders(folders: Mapping[str, bool]) -> Check:
    absent = [path for path, there in folders.items() if not there]
    if absent:
        remedy = (
            f'put the data there or name its place (--options {spelled("data_root")}=...); tools/datasets prepares it'
        )
        return Check('data', f'not there: {", ".join(absent)}', remedy, is_fault=True)
    return Check('data', f'{len(folders)} folders and files are there' if folders else 'the data set names no folders')


def _workers(cfg: Mapping[str, Any], machine: Machine) -> Check:
    workers = cfg['train_dataloader'].get('num_workers', 0)
    text = f'{workers} on {machine.num_cores} cores'
    if not isinstance(workers, int):
        return Check('workers', f'{workers!r}: measured when the run starts')
    if workers > _MANY_WORKERS:
        least = min(_MANY_WORKERS, max(machine.num_cores - 1, 1))
        return Check(
            'workers',
            text,
            f'more than {_MANY_WORKERS} rarely help: --options {spelled("train_dataloader.num_workers")}={least}',
        )
    if workers > machine.num_cores:
        return Check(
            'workers',
            text,
            f'they only take turns: {spelled("train_dataloader.num_workers")}={max(machine.num_cores - 1, 0)}',
        )
    if not workers and machine.gpus:
        return Check(
            'workers',
            text,
            f'the GPU waits while a batch is loaded: {spelled("train_dataloader.num_workers")}=2 or more',
        )
    return Check('workers', text)


def _accumulation(cfg: Mapping[str, Any], num_train: int) -> Iterator[Check]:
    accumulation = cfg['optim_wrapper'].get('accumulative_counts') or 1
    loop, batch = cfg['train_cfg'], cfg['train_dataloader'].get('batch_size', 1)
    if accumulation == 1 or not num_train:
        return
    per_epoch = -(-num_train // batch) if not cfg['train_dataloader'].get('drop_last') else num_train // batch
    count, unit = (loop['max_iters'], 'run') if loop.get('max_iters') else (per_epoch, 'epoch')
    rest = count % accumulation
    text = f'{accumulation} iterations per step, {count:,} per {unit}'
    remedy = f'a step spans the end: {rest} iterations are left over; choose a divisor of {count:,}' if rest else ''
    yield Check('accumulation', text, remedy)


def _precision(cfg: Mapping[str, Any], machine: Machine) -> Check:
    device, section = machine.compute, cfg['optim_wrapper']
    name, half = precision_of(section), device.native_half
    if name == AUTO:
        return Check('precision', str(choose_precision(device, allowed_precisions(section))))
    support = device.support(name)
    if not support.is_native:
        return Check('precision', f'{name} is {support.level}: {support.reason}', f'use --precision {half or "fp32"}')
    if name == 'fp32' and half is not None:
        text = f'fp32, but for {half}: {device.support(half).reason}'
        return Check('precision', text, f'--precision {half} is about twice as fast where products prevail')
    return Check('precision', name)


def _reading(cfg: Mapping[str, Any], machine: Machine, disk: Disk) -> Iterator[Check]:
    if disk.read_mib_per_s is not None:
        slow = f'copy the data to a local SSD, or cache it: {spelled("train_dataloader.cache")}'
        yield Check(
            'disk', f'{disk.read_mib_per_s:,.0f} MiB/s from cold files', slow if disk.read_mib_per_s < 100 else ''
        )
    workers = cfg['train_dataloader'].get('num_workers', 0)
    if disk.load_ms is not None:
        num = min(max(workers, 1), machine.num_cores) if isinstance(workers, int) else machine.num_cores
        yield Check('loader', f'{disk.load_ms:.3g} ms per sample: {1000 * num / disk.load_ms:,.0f} per second')
    free = disk.free_gib
    yield Check('work dir', f'{free:,.1f} GiB free', 'checkpoints need more: another --work-dir' if free < 5 else '')
