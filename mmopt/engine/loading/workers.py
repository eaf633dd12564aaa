"""How many workers a loader needs, and how far ahead they work: from the time of a sample and of a step.

``num_workers='auto'`` is answered twice. Before the first step the time of a sample is measured and as many workers are
started as the machine gives; when some steps have been timed, as many stay as these need. Samples do not depend on the
number of workers, so neither does the training.
"""

import math
import statistics
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement
from torch import Tensor

from mmopt.config.spelling import spelled
from mmopt.utils.host import available_host_bytes, free_shared_memory_bytes, usable_cores
from mmopt.utils.memory import GIB
from mmopt.utils.seeding import generators_kept

__all__ = [
    'TORCH_PREFETCH',
    'Change',
    'Host',
    'LoaderPlan',
    'LoaderTuner',
    'SampleCost',
    'bytes_of',
    'measure_samples',
    'plan_for',
    'plan_loader',
]

# A worker's own memory once it has loaded some samples: the interpreter's pages that it has touched, decoders, buffers.
_WORKER_BYTES = 300 * 2**20
_MEMORY_SHARE = 0.25  # of what is free, for all loaders of a run
_SHARED_MEMORY_SHARE = 0.8
# More than these rarely help: they fight over memory bandwidth, and each costs memory.
_MAX_WORKERS = 32
# A batch that takes less is loaded in the loop itself: handing it over between processes costs as much.
_HAND_OVER_S = 0.5e-3
TORCH_PREFETCH = 2
"""Batches that a worker is ahead where nobody says otherwise."""
# Workers must be faster than the steps, as both vary.
_RESERVE = 1.25


@dataclass(frozen=True)
class SampleCost:
    """What loading a sample costs.

    Attributes:
        seconds: Mean time, one after the other in one process.
        spread: Slow samples over the mean: the slowest but one, as one may have been held up by something else.
        num_bytes: Size of its tensors.
    """

    seconds: float
    spread: float
    num_bytes: int


@dataclass(frozen=True)
class Host:
    """What a process of the run may use.

    Attributes:
        memory_bytes: Free memory.
        shared_bytes: Free shared memory; None where it has no limit of its own.
        num_processes: Processes of the run on this machine.
    """

    num_cores: int
    memory_bytes: int
    shared_bytes: int | None
    num_processes: int = 1

    @classmethod
    def look(cls, num_processes: int) -> 'Host':
        """Look at this machine."""
        return cls(usable_cores(), available_host_bytes(), free_shared_memory_bytes(), num_processes)


@dataclass(frozen=True)
class LoaderPlan:
    """What was decided before the first step.

    Attributes:
        num_workers: Workers to start with.
        max_workers: Workers that the machine gives.
        prefetch_factor: Batches that each works ahead.
        cost: What a sample costs.
        text: For the log.
        keeps_workers: Whether the number of workers was given by the config.
    """

    num_workers: int
    max_workers: int
    prefetch_factor: int
    cost: SampleCost
    batch_size: int
    text: str
    keeps_workers: bool = False


def measure_samples(dataset: Any, max_samples: int = 16, max_s: float = 2.0) -> SampleCost:
    """Load some samples, spread over the data set, in this process; random generators stay as they were.

    Args:
        max_samples: Samples to load at most.
        max_s: Seconds after which no other is begun.

    Returns:
        What one costs.
    """
    times_s, sizes = [], []
    places = np.linspace(0, len(dataset) - 1, min(max_samples, len(dataset))).astype(int).tolist()
    with generators_kept():
        dataset[places[0]]  # opens files and fills caches once
        for place in places:
            started = time.perf_counter()
            sample = dataset[place]
            times_s.append(time.perf_counter() - started)
            sizes.append(_num_bytes(sample))
            if sum(times_s) > max_s:
                break
    mean_s = statistics.mean(times_s)
    return SampleCost(mean_s, sorted(times_s)[-2 if len(times_s) > 3 else -1] / mean_s, max(sizes))


def bytes_of(dataset: Any) -> int | None:
    """Load one sample and return the size of its tensors; random generators stay as they were.

    Args:
        dataset: The data set.

    Returns:
        Bytes; None if it is empty or the sample cannot be read, which the loader will say.
    """
    if not len(dataset):
        return None
    with generators_kept(), suppress(Exception):
        return _num_bytes(dataset[0])
    return None


def _num_bytes(part: Any) -> int:
    if isinstance(part, Tensor | np.ndarray):
        return part.nbytes
    if isinstance(part, BaseDataElement):
        return sum(_num_bytes(value) for value in part.values())
    if isinstance(part, dict):
        return sum(_num_bytes(value) for value in part.values())
    if isinstance(part, list | tuple):
        return sum(_num_bytes(value) for value in part)
    return 0


def plan_loader(
    cost: SampleCost, batch_size: int, host: Host, *, num_workers: int | None = None, prefetch_factor: int | None = None
) -> LoaderPlan:
    """Decide how to start.

    Args:
        cost: What a sample costs.
        host: What there is.
        num_workers: Given by the config; None to decide.
        prefetch_factor: Given by the config; None to decide.

    Returns:
        The plan: at least one worker, unless a batch takes less than handing it over, or there is one core only.
    """
    batch_bytes = batch_size * cost.num_bytes
    # Batches differ less than their samples.
    ahead = prefetch_factor or max(2, min(8, math.ceil(1 + cost.spread / math.sqrt(batch_size))))
    limits = dict(cores=max(host.num_cores // host.num_processes - 1, 0), rule=_MAX_WORKERS)
    memory = _MEMORY_SHARE * host.memory_bytes / host.num_processes
    limits['memory'] = int(memory // (_WORKER_BYTES + ahead * batch_bytes))
    if host.shared_bytes is not None and batch_bytes:
        shared = _SHARED_MEMORY_SHARE * host.shared_bytes / host.num_processes
        limits['shared memory'] = int(shared // (ahead * batch_bytes))
        while prefetch_factor is None and ahead > 2 and limits['shared memory'] < limits['cores']:
            ahead -= 1
            limits['shared memory'] = int(shared // (ahead * batch_bytes))
    least = min(limits, key=limits.__getitem__)
    most = limits[least]
    chosen = num_workers if num_workers is not None else most
    why = '' if num_workers is not None else f', bounded by {least}'
    if num_workers is None and cost.seconds * batch_size < _HAND_OVER_S:
        chosen, why = 0, ': loading takes less than handing a batch over'
    counted = f'{chosen} worker' if chosen == 1 else f'{chosen} workers'
    text = (
        f'a sample takes {cost.seconds * 1e3:.3g} ms and {cost.num_bytes / 2**20:.3g} MiB; {host.num_cores} cores and '
        f'{host.memory_bytes / GIB:.3g} GiB free for {host.num_processes} process(es): {counted}{why}'
        + (f', {ahead} batches ahead each' if chosen else '')
    )
    return LoaderPlan(chosen, most, ahead, cost, batch_size, text, keeps_workers=num_workers is not None)


@dataclass(frozen=True)
class Change:
    """What measured steps ask for.

    Attributes:
        num_workers: Workers from now on.
        text: For the log.
    """

    num_workers: int
    text: str


class LoaderTuner:
    """Time the first steps and say how many workers they need, once.

    Args:
        plan: What the loader was started with; None if the config gave its numbers, so nothing is to be decided.
        skip: Iterations that are not timed: they compile, autotune, and find the queues filled.
        measured: Iterations that are.
        min_left: With fewer iterations to come, new workers are not worth their start.
    """

    def __init__(self, plan: LoaderPlan | None, *, skip: int = 10, measured: int = 30, min_left: int = 200) -> None:
        self._plan = plan if plan is not None and not plan.keeps_workers and plan.num_workers else None
        self._skip = skip
        self._measured = measured
        self._min_left = min_left
        self._seen = 0
        self._waited_s = 0.0
        self._step_s = 0.0
        self.is_due = False
        """Whether enough was seen and nothing is decided yet."""

    def observe(self, time: float, data_time: float) -> None:
        """Note an iteration.

        Args:
            time: Its seconds.
            data_time: Of these, the wait for data.
        """
        if self._plan is None:
            return
        self._seen += 1
        if self._seen > self._skip:
            self._step_s += time - data_time
            self._waited_s += data_time
        self.is_due = self._seen >= self._skip + self._measured

    def decide(self, iters_left: int) -> Change | None:
        """Decide, once.

        Args:
            iters_left: Iterations to come.

        Returns:
            The decision; None if the run is about to end.
        """
        plan, self._plan, self.is_due = self._plan, None, False
        if plan is None or iters_left < self._min_left:
            return None
        step_s, waited_s = self._step_s / self._measured, self._waited_s / self._measured
        needed = math.ceil(_RESERVE * plan.cost.seconds * plan.batch_size / max(step_s, 1e-6))
        chosen = min(max(needed, 1), max(plan.max_workers, 1))
        if waited_s > 0.05 * step_s:  # the samples take longer among others than alone: none can be spared
            chosen = max(chosen, plan.num_workers)
        if abs(chosen - plan.num_workers) == 1:
            chosen = plan.num_workers  # not worth a new start
        text = (
            f'{spelled("train_dataloader.num_workers")}: an iteration computes {step_s * 1e3:.3g} ms and waits '
            f'{waited_s * 1e3:.3g} ms for data; '
            f'{needed} workers would keep up: '
        )
        text += f'{plan.num_workers} stay.' if chosen == plan.num_workers else f'{plan.num_workers} become {chosen}.'
        return Change(chosen, text)


def plan_for(
    dataset: Any, batch_size: int, num_processes: int, num_workers: int | str, prefetch_factor: int | str | None
) -> LoaderPlan:
    """Measure a data set and decide what the config leaves to it.

    Args:
        num_processes: Processes of the run on this machine.
        num_workers: A number, or ``'auto'``.
        prefetch_factor: A number, ``'auto'``, or None.

    Returns:
        The plan.
    """
    return plan_loader(
        measure_samples(dataset),
        batch_size,
        Host.look(num_processes),
        num_workers=None if isinstance(num_workers, str) else num_workers,
        prefetch_factor=None if isinstance(prefetch_factor, str) else prefetch_factor or TORCH_PREFETCH,
    )
