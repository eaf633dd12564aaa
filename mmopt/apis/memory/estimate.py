"""Estimate the memory of a training run before it starts, without a GPU: what ``tools/estimate_memory.py`` calls."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import mmopt
from mmopt.engine.memory.gpus import Budget, Gpu
from mmopt.engine.memory.host import HostMemory, chunk_frames, estimate_host, most_workers
from mmopt.utils.errors import UserError
from mmopt.utils.memory import GIB

__all__ = ['MemoryReport', 'estimate_memory']

SLACK = 0.1
"""Share of the reserved memory that stays free when the largest batch is looked for."""
_DEFAULT_CONTEXT_GIB = (0.25, 0.4, 0.6)


@dataclass(frozen=True)
class MemoryReport:
    """Estimates of one config; all sizes in bytes.

    Attributes:
        cases: One dict per setting: ``batch_size``, ``precision``, ``checkpointing``, ``accumulation``, the attributes
            of :class:`mmopt.engine.memory.estimate.Estimate`, ``assumed`` (assumptions about values and how often),
            ``batches`` (what their batches are made of; empty for a data set's own example),
            ``effects`` (what the `optimize` section did), ``phase_of_run`` (a config with phases has a case for each)
            and ``seconds``.
        largest: With a budget: the largest batch of every precision and checkpointing, with its ``case``, which has
            ``beyond`` where it continues the line of two traced batches (:mod:`mmopt.engine.memory.search`).
        budget: The card, or None.
        context: Memory outside of PyTorch's allocator: least, expected, most.
        host: The host's memory for the config's workers.
        ram: The machine's memory, or None.
        workers_that_fit: With ``ram``: how many workers fit; None if not even the main process does.
        chunk_frames: With ``ram``, for videos: frames that a maker of samples may hold at once.
    """

    config: str
    cases: tuple[Mapping[str, Any], ...]
    largest: tuple[Mapping[str, Any], ...]
    budget: Budget | None
    context: tuple[int, int, int]
    host: HostMemory
    ram: int | None
    workers_that_fit: int | None
    chunk_frames: int | None

    def card_bytes(self, case: Mapping[str, Any]) -> tuple[int, int, int]:
        """Return what the card must have for a case: least, expected, most."""
        low, middle, high = self.context
        return case['reserved_low'] + low, case['reserved'] + middle, case['reserved_high'] + high

    def to_dict(self) -> dict[str, Any]:
        """Return plain types, for JSON."""
        budget = None if self.budget is None else dict(name=self.budget.name, total_bytes=self.budget.total_bytes)
        cases = [dict(case, card_bytes=list(self.card_bytes(case))) for case in self.cases]
        return dict(
            config=self.config,
            is_calibrated=False,
            cases=cases,
            largest=[dict(item) for item in self.largest],
            budget=budget,
            context=list(self.context),
            host=asdict(self.host) | dict(total=self.host.total),
            ram=self.ram,
            workers_that_fit=self.workers_that_fit,
            chunk_frames=self.chunk_frames,
        )


def estimate_memory(
    config: str | Path,
    *,
    options: Sequence[str] = (),
    batch_sizes: Sequence[int] = (),
    precisions: Sequence[str] = (),
    checkpointings: Sequence[str] = (),
    budget: Budget | None = None,
    gpu: Gpu | None = None,
    ram_bytes: int | None = None,
    optimizer: str | None = None,
    max_items: int | None = None,
    scan: bool = False,
    expandable_segments: bool = False,
) -> MemoryReport:
    """Estimate what training takes, for every combination of the settings.

    The config's model runs two optimizer steps on a simulated GPU, in a process of its own; see docs/memory.md.

    Args:
        options: ``key.subkey=value`` texts, as for training.
        batch_sizes: Samples per iteration; empty: the config's.
        precisions: ``fp32``, ``fp16``, ``bf16``; empty: the config's.
        checkpointings: ``none`` or ``blocks``; empty: the config's.
        budget: A card: then the largest batch that fits is looked for, with :data:`SLACK` left free.
        gpu: Whose context and cuBLAS workspace count; None: the budget's, or those of an Ampere card.
        ram_bytes: The machine's memory: then the number of workers that fit is told.
        optimizer: ``SGD`` or ``AdamW`` with plain settings in place of the config's.
        max_items: Labels (boxes, events) per sample; None: the data set's worst case.
        scan: Take the samples with the most labels of the data on disk.
        expandable_segments: As with ``PYTORCH_ALLOC_CONF=expandable_segments:True``.

    Returns:
        The report; printing it is :func:`mmopt.apis.memory.table.format_report`.

    Raises:
        UserError: If the config cannot be estimated; says why.
    """
    if gpu is None and budget is not None:
        gpu = budget.gpu
    context_gib = _DEFAULT_CONTEXT_GIB if gpu is None else gpu.context_gib
    low, middle, high = (int(value * GIB) for value in context_gib)
    search = None
    if budget is not None:
        search = dict(capacity=budget.total_bytes - middle, slack=SLACK)
        if search['capacity'] <= 0:
            raise UserError(f'{budget.name} has no room beside the CUDA context of about {context_gib[1]} GiB.')
    answer = _ask_worker(
        dict(
            config=str(config),
            options=list(options),
            cases=[
                dict(batch_size=batch_size, precision=precision, checkpointing=checkpointing)
                for precision in precisions or (None,)
                for checkpointing in checkpointings or (None,)
                for batch_size in batch_sizes or (None,)
            ],
            search=search,
            optimizer=optimizer,
            max_items=max_items,
            scan=scan,
            expandable_segments=expandable_segments,
            blas_workspace=8_519_680 if gpu is None else gpu.blas_workspace,
            capability=[8, 0] if gpu is None else list(gpu.capability),
        )
    )
    facts = dict(answer['host'])
    frame_bytes, num_workers = facts.pop('frame_bytes'), facts.pop('num_workers')
    frames = None
    if frame_bytes and ram_bytes is not None:
        frames = chunk_frames(ram_bytes, frame_bytes, num_workers)
    return MemoryReport(
        config=str(config),
        cases=tuple(answer['cases']),
        largest=tuple(answer['largest']),
        budget=budget,
        context=(low, middle, high),
        host=estimate_host(num_workers=num_workers, **facts),
        ram=ram_bytes,
        workers_that_fit=None if ram_bytes is None else most_workers(ram_bytes, facts),
        chunk_frames=frames,
    )


def _ask_worker(request: Mapping[str, Any]) -> dict[str, Any]:
    # The worker must import this very package, wherever the caller stands.
    root = str(Path(mmopt.__file__).resolve().parents[1])
    path = os.pathsep.join(part for part in (root, os.environ.get('PYTHONPATH')) if part)
    with tempfile.TemporaryDirectory(prefix='mmopt-estimate-') as folder:
        request_file, answer_file = Path(folder, 'request.json'), Path(folder, 'answer.json')
        request_file.write_text(json.dumps(request), encoding='utf-8')
        done = subprocess.run(
            [sys.executable, '-m', 'mmopt.apis.memory.worker', str(request_file), str(answer_file)],
            # Never a real GPU: the estimate is the same with and without one.
            env={**os.environ, 'PYTHONPATH': path, 'CUDA_VISIBLE_DEVICES': ''},
            capture_output=True,
            text=True,
        )
        if not answer_file.is_file():
            tail = '\n'.join(done.stderr.splitlines()[-12:])
            raise RuntimeError(f'the estimating process ended with code {done.returncode}:\n{tail}')
        answer = json.loads(answer_file.read_text(encoding='utf-8'))
    if 'traceback' in answer:
        if answer['error'] is None or os.environ.get('MMOPT_DEBUG', '0') not in ('', '0'):
            raise RuntimeError(f'the estimate failed:\n{answer["traceback"]}')
        raise UserError(answer['error'])
    return answer
