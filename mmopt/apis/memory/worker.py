"""The process that estimates: it holds the simulated GPU, which cannot be taken out of a process again.

Started by :func:`mmopt.apis.memory.estimate.estimate_memory` as
``python -m mmopt.apis.memory.worker REQUEST ANSWER``, two JSON files. A crash of it ends no caller.
"""

import dataclasses
import json
import sys
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from mmopt.apis.cli.errors import explain
from mmopt.apis.memory.case import MemoryCase, load_case, phases_of
from mmopt.apis.memory.samples import SampleSource, bytes_of
from mmopt.apis.run.facts import build_dataset
from mmopt.engine.memory.estimate import estimate
from mmopt.engine.memory.kernels import KernelModel
from mmopt.engine.memory.search import Need, between, largest_batch
from mmopt.engine.memory.simulate import Simulator
from mmopt.utils.errors import UserError

__all__ = ['answer']


def answer(request: Mapping[str, Any]) -> dict[str, Any]:
    """Estimate what was asked.

    Args:
        request: ``config``, ``options``, ``cases`` (dicts with ``batch_size``, ``precision``, ``checkpointing``, each
            None for the config's own), ``search`` (None, or ``capacity`` and ``slack``), ``optimizer``, ``max_items``,
            ``scan``, ``expandable_segments``, ``blas_workspace``, ``capability``.

    Returns:
        ``cases`` and ``host``.
    """
    kernels = KernelModel(blas_workspace=request['blas_workspace'], capability=tuple(request['capability']))
    simulator = Simulator(kernels)
    session = _Session(request, simulator)
    cases = [session.case(**case) for asked in request['cases'] for case in session.in_phases(asked)]
    largest = []
    if request['search'] is not None:
        settings = {(case['precision'], case['checkpointing']): case for case in cases}
        largest = [session.largest(case, **request['search']) for case in settings.values()]
    return dict(cases=cases, largest=largest, host=session.host_facts())


class _TooFewSamples(UserError):
    pass


class _Session:
    def __init__(self, request: Mapping[str, Any], simulator: Simulator) -> None:
        self.request = request
        self.simulator = simulator
        self.shared = {key: request[key] for key in ('config', 'options', 'optimizer', 'max_items', 'scan')}
        self.source = SampleSource(load_case(**self.shared).cfg, request['max_items'], request['scan'])

    def load(self, **changes: Any) -> MemoryCase:
        """Load a case of the config, on the data that was read already."""
        return load_case(**self.shared, **changes, source=self.source)

    def in_phases(self, asked: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Make one case per phase of the config, where no batch size is asked for."""
        num_phases = len(phases_of(self.source.cfg))
        if asked['batch_size'] is not None or not num_phases:
            return [asked]
        return [dict(asked, phase=number) for number in range(num_phases)]

    def case(
        self, batch_size: int | None, precision: str | None, checkpointing: str | None, phase: int | None = None
    ) -> dict[str, Any]:
        """Estimate one setting."""
        started = time.perf_counter()
        case = self.load(batch_size=batch_size, precision=precision, checkpointing=checkpointing, phase=phase)
        effects: list[str] = []
        try:
            trace, assumed = self.simulator.trace(
                case.build_model,
                case.build_optim_wrapper,
                case.batch_maker(),
                change_model=lambda model: effects.extend(case.change_model(model)),
                num_averaged=case.num_averaged,
                micro_batch=case.micro_batch,
                before_first=case.before_first(effects),
                prefetches=case.prefetches,
            )
        except ValueError as error:
            if 'more than 1 value per channel' not in str(error):
                raise
            raise _TooFewSamples(
                f'batch {case.batch_size}: a BatchNorm after global pooling has one value per channel, which has no '
                'statistics; the smallest batch of this model is 2.'
            ) from error
        found = estimate(trace, expandable_segments=self.request['expandable_segments'])
        own = 'config' if case.optimize.get('checkpointing') else 'none'
        return dataclasses.asdict(found) | dict(
            batch_size=case.batch_size,
            precision=case.precision,
            checkpointing=checkpointing or own,
            phase_of_run=case.phase,
            accumulation=case.cfg.optim_wrapper.get('accumulative_counts') or 1,
            assumed=assumed,
            batches=self.source.note,
            effects=effects,
            seconds=time.perf_counter() - started,
        )

    def largest(self, case: Mapping[str, Any], capacity: int, slack: float) -> dict[str, Any]:
        """Find the largest batch of one setting."""
        setting = {key: case[key] for key in ('precision', 'checkpointing')}
        known = {case['batch_size']: case}

        def need(batch_size: int) -> Need | None:
            if batch_size not in known:
                try:
                    known[batch_size] = self.case(batch_size, **setting)
                except _TooFewSamples:
                    return None
            found = known[batch_size]
            return Need(int(found['reserved'] * (1 + slack)), found['num_events'])

        found = largest_batch(need, capacity, case['batch_size'])
        batch, beyond = found.batch_size, found.beyond
        chosen = known.get(batch) if beyond is None else _on_the_line([known[size] for size in beyond], batch)
        return setting | dict(batch_size=batch, case=chosen)

    def host_facts(self) -> dict[str, Any]:
        """Return what host memory depends on."""
        case = self.load(batch_size=1)
        loader = case.cfg.train_dataloader
        kind, part = self.source.kind, self.source.part
        held = kind.host_bytes(part) if hasattr(kind, 'host_bytes') else {}
        one = bytes_of(case.batch_maker()())
        dataset_bytes = 0
        if self.request['scan']:
            # The list of samples, as MMEngine keeps it; without the data it is not known and small.
            serialized = getattr(build_dataset(case.cfg, 'train_dataloader'), 'data_bytes', None)
            dataset_bytes = 0 if serialized is None else serialized.nbytes
        return dict(
            num_workers=loader.get('num_workers', 0),
            prefetch=loader.get('prefetch_factor') or 2,
            batch_bytes=loader.get('batch_size', 1) * one,
            sample_bytes=held.get('sample', 4 * one),
            frame_bytes=held.get('frame'),
            dataset_bytes=dataset_bytes,
            pin_memory=bool(loader.get('pin_memory')),
        )


def _on_the_line(cases: Sequence[Mapping[str, Any]], batch_size: int) -> dict[str, Any]:
    """Continue two cases to a larger batch."""

    beyond = [case['batch_size'] for case in cases]

    def continued(groups: Sequence[Mapping[str, int]], names: Iterable[str]) -> dict[str, int]:
        values = {name: [group[name] for group in groups] for name in names}
        return {
            name: round(between(dict(zip(beyond, known, strict=True)), batch_size)) for name, known in values.items()
        }

    last = dict(cases[-1])
    last |= continued(cases, ('allocated', 'reserved', 'reserved_low', 'reserved_high', 'prefetched', 'num_events'))
    last |= {kind: continued([case[kind] for case in cases], last[kind]) for kind in ('parts', 'most')}
    return last | dict(batch_size=batch_size, modules=[], beyond=beyond)


def main(request_path: str, answer_path: str) -> None:
    torch.set_num_threads(1)  # values of small tensors only: threads would cost more than they bring
    try:
        given = answer(json.loads(Path(request_path).read_text(encoding='utf-8')))
    except Exception as error:
        given = dict(error=explain(error), traceback=traceback.format_exc())
    Path(answer_path).write_text(json.dumps(given), encoding='utf-8')


if __name__ == '__main__':
    main(*sys.argv[1:])
