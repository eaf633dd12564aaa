"""Where the time of an iteration goes: copy, forward, backward, optimizer.

The clock sits around the parts of :class:`mmopt.engine.loops.step.TrainStep` from outside. On a GPU it records events
and reads them at the end: nothing waits for the device, so measuring does not change what is measured.
"""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

import torch
from torch import nn

from mmopt.engine.loops.step import TrainStep

__all__ = ['PARTS', 'StepClock']

PARTS = ('data', 'copy', 'forward', 'backward', 'optimizer', 'other')
"""``data`` is the wait for the loader, ``other`` what no part covers: hooks, logs, checkpoints."""


class StepClock:
    """Time the parts of a step, and the whole iterations.

    Args:
        device: Where the model is.
    """

    def __init__(self, device: torch.device) -> None:
        self.on_gpu = device.type == 'cuda'
        self._spans: list[list[tuple[str, Any, Any]]] = [[]]
        self._ends: list[Any] = []
        self._waited_s: list[float] = []

    def _now(self) -> Any:
        if not self.on_gpu:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _between_s(self, start: Any, stop: Any) -> float:
        return start.elapsed_time(stop) / 1000 if self.on_gpu else stop - start

    def attach(self, step: TrainStep) -> None:
        """Put the clock around the parts of a step; a model with a step of its own has none."""
        if step.model_owns_step:
            return
        self._time_calls('forward', step.model)
        preprocessor = getattr(step.module, 'data_preprocessor', None)
        if preprocessor is not None:
            self._time_calls('copy', preprocessor)
        wrapper = step.optim_wrapper
        wrapper.accumulate = self._timed('backward', wrapper.accumulate)
        wrapper.finish_iteration = self._timed('optimizer', wrapper.finish_iteration)

    def _time_calls(self, part: str, module: nn.Module) -> None:
        starts: list[Any] = []
        module.register_forward_pre_hook(lambda *_: starts.append(self._now()))
        # The last start: a call that failed left its own behind.
        module.register_forward_hook(lambda *_: self._spans[-1].append((part, starts.pop(), self._now())))

    def _timed(self, part: str, function: Callable) -> Callable:
        @wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self._now()
            result = function(*args, **kwargs)
            self._spans[-1].append((part, start, self._now()))
            return result

        return timed

    def start(self) -> None:
        """Begin: the next iteration counts from here. What was timed before is dropped."""
        self._spans, self._ends, self._waited_s = [[]], [self._now()], []

    def end_iteration(self, waited_s: float) -> None:
        """Note the end of an iteration.

        Args:
            waited_s: Seconds that it waited for its batch.
        """
        self._ends.append(self._now())
        self._waited_s.append(waited_s)
        self._spans.append([])

    def iterations_s(self) -> list[float]:
        """Return the seconds of each iteration, from end to end. Waits for the device."""
        if self.on_gpu:
            torch.cuda.synchronize()
        return [self._between_s(*pair) for pair in zip(self._ends[:-1], self._ends[1:], strict=True)]

    def parts_s(self) -> dict[str, list[float]]:
        """Return the seconds of each part in each iteration. Waits for the device."""
        wholes = self.iterations_s()
        parts: dict[str, list[float]] = {part: [] for part in PARTS}
        for whole, waited, spans in zip(wholes, self._waited_s, self._spans, strict=False):
            sums = dict.fromkeys(PARTS, 0.0)
            sums['data'] = waited
            for part, start, stop in spans:
                sums[part] += self._between_s(start, stop)
            # A GPU works on while the loop waits for data, so the parts may overlap.
            sums['other'] = max(whole - sum(sums.values()), 0.0)
            for part in PARTS:
                parts[part].append(sums[part])
        return parts
