"""The machine: GPU and its memory, cores, host memory, shared memory, malloc, CPU arithmetic."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from mmopt.apis.doctor.check import Check
from mmopt.config.spelling import spelled
from mmopt.utils.host import available_host_bytes, usable_cores
from mmopt.utils.memory import GIB
from mmopt.utils.platform import is_glibc, max_open_files, read_kernel_file, shared_memory_bytes
from mmopt.utils.precision import ComputeDevice, cuda_device, this_cpu

__all__ = ['Machine', 'check_machine', 'look_at_machine']


@dataclass(frozen=True)
class Machine:
    """What there is.

    Attributes:
        gpus: Name, compute capability, free and total GiB of each visible GPU.
        num_cores: Cores that this process may use: affinity and the container's quota.
        host_free_gib: Memory that is free or can be freed, within the container's limit.
        shm_gib: Size of ``/dev/shm``, through which workers hand batches over; None where there is none.
        malloc: ``'glibc'``, or what is loaded in its place (``'jemalloc'``), or ``'other'``.
        cpu: What the CPU computes.
        open_files: How many files a process may have open; None where nobody limits it.
    """

    gpus: Sequence[tuple[str, tuple[int, int], float, float]]
    num_cores: int
    host_free_gib: float
    shm_gib: float | None
    malloc: str
    cpu: ComputeDevice
    open_files: int | None

    @property
    def compute(self) -> ComputeDevice:
        """What a run computes on: the oldest GPU, else the CPU."""
        return cuda_device(min(capability for _, capability, *_ in self.gpus)) if self.gpus else self.cpu


def look_at_machine(*, with_gpus: bool = True) -> Machine:
    """Measure it.

    Args:
        with_gpus: Look at the GPUs as well, which starts CUDA in this process.

    Returns:
        What there is.
    """
    gpus = []
    for index in range(torch.cuda.device_count() if with_gpus else 0):
        free, total = torch.cuda.mem_get_info(index)
        name, capability = torch.cuda.get_device_name(index), torch.cuda.get_device_capability(index)
        gpus.append((name, capability, free / GIB, total / GIB))
    shared = shared_memory_bytes()
    return Machine(
        gpus=tuple(gpus),
        num_cores=usable_cores(),
        host_free_gib=available_host_bytes() / GIB,
        shm_gib=None if shared is None else shared[1] / GIB,
        malloc=_malloc(),
        cpu=this_cpu(),
        open_files=max_open_files(),
    )


def _malloc() -> str:
    loaded = read_kernel_file('self/maps')
    for name in ('jemalloc', 'tcmalloc', 'mimalloc'):
        if name in loaded:
            return name
    return 'glibc' if is_glibc() else 'other'


def check_machine(machine: Machine) -> list[Check]:
    """Say what of the machine will hold a training up.

    Args:
        machine: What there is.

    Returns:
        A line per thing.
    """
    checks = []
    for index, (name, (major, minor), free, total) in enumerate(machine.gpus):
        taken = total - free
        remedy = f'{taken:.1f} GiB are taken by other processes: nvidia-smi lists them' if taken > 0.1 * total else ''
        text = f'{name}, compute capability {major}.{minor}, {free:.1f} of {total:.1f} GiB free'
        checks.append(Check(f'GPU {index}', text, remedy))
    if not machine.gpus:
        checks.append(Check('GPU', 'none visible: training runs on the CPU'))
    few = 'loader and training share them: 4 or more per GPU keep up with most pipelines'
    checks.append(Check('cores', str(machine.num_cores), few if machine.gpus and machine.num_cores < 4 else ''))
    low = (
        'each worker takes about 0.5 GiB and the pages of its data: lower '
        f'{spelled("train_dataloader.num_workers")}, close other programs'
    )
    checks.append(
        Check('host memory', f'{machine.host_free_gib:.1f} GiB free', low if machine.host_free_gib < 8 else '')
    )
    checks.append(_shared_memory(machine.shm_gib))
    checks.append(_malloc_check(machine))
    ulimit = 'workers share tensors through files: raise it (ulimit -n 65536)'
    if machine.open_files is not None:
        checks.append(Check('open files', str(machine.open_files), ulimit if machine.open_files < 4096 else ''))
    return checks


def _shared_memory(shm_gib: float | None) -> Check:
    if shm_gib is None:
        return Check('shared memory', 'no folder of a limited size')
    # Docker's default is 64 MiB: the first large batch of a worker dies with a bus error.
    remedy = 'workers hand batches over there: docker run --shm-size=8g, or --ipc=host' if shm_gib < 1 else ''
    return Check('shared memory', f'/dev/shm {shm_gib:.2f} GiB', remedy, is_fault=shm_gib < 0.1)


def _malloc_check(machine: Machine) -> Check:
    if machine.malloc == 'glibc':
        return Check(
            'malloc', 'glibc; on a CPU the runner tells it to keep freed pages (1.6 to 2.4 times faster steps)'
        )
    if machine.malloc == 'other':
        return Check('malloc', 'not glibc', 'on a CPU every step pays page faults: preload jemalloc or tcmalloc')
    return Check('malloc', f'{machine.malloc} is loaded in the place of glibc')
