"""What losses of mmcv 1.x divide by, over the whole batch while it runs in micro-batches.

Detectors divide their sums by the positives of what they see (``avg_factor``). In micro-batches each part would be
divided by its own, and the parts' losses would not add up to the batch's. So the parts run once without gradients, the
factors are added up, and each part is given its share of the batch's.
"""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from torch import nn

from mmopt.engine.checkpoint_io import rng_state, set_rng_state
from mmopt.structures import batch_size

__all__ = ['LossAverages']


class LossAverages:
    """Give each part of a batch its share of the batch's ``avg_factor``.

    Args:
        model: A model of mmcv 1.x; modules whose ``forward`` takes ``avg_factor`` are watched.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._seen: list[Any] | None = None
        self._given: list[list[Any]] = []
        self._calls = iter(())
        self.is_needed = False
        """Whether factors were other than numbers of samples, which shares by samples are exact for."""
        self._is_known = False
        for module in model.modules():
            parameters = inspect.signature(module.forward).parameters
            if 'avg_factor' in parameters:
                self.is_needed = True
                place = list(parameters).index('avg_factor')
                module.register_forward_pre_hook(self._hook_for(place), with_kwargs=True)

    def _hook_for(self, place: int) -> Callable:
        def hook(module: nn.Module, args: tuple, kwargs: dict) -> tuple[tuple, dict] | None:
            del module  # torch's signature
            is_named = 'avg_factor' in kwargs
            factor = kwargs['avg_factor'] if is_named else args[place] if len(args) > place else None
            if self._seen is not None:
                self._seen.append(factor)
                return None
            given = next(self._calls, None)
            if given is None or factor is None:
                return None
            if is_named:
                return args, dict(kwargs, avg_factor=given)
            return (*args[:place], given, *args[place + 1 :]), kwargs

        return hook

    def measure(self, run: Callable[[Any], Any], parts: Sequence[Any], weights: Sequence[float]) -> None:
        """Look at all parts of a batch before they are trained on.

        Args:
            run: Computes the losses of a part.
            parts: In the order in which they are trained on.
            weights: By which the loss of each is multiplied.
        """
        if not self.is_needed:
            return
        state, buffers = rng_state(), [buffer.clone() for buffer in self._model.buffers()]
        seen: list[list[Any]] = []
        try:
            for part in parts:
                self._seen = []
                with torch.no_grad():
                    run(part)
                seen.append(self._seen)
        finally:
            self._seen = None
            set_rng_state(state)
            for buffer, before in zip(self._model.buffers(), buffers, strict=True):
                buffer.copy_(before)
        sizes = [batch_size(part) for part in parts]
        if not self._is_known:
            self._is_known = True
            self.is_needed = any(
                factor is not None and float(factor) != size
                for calls, size in zip(seen, sizes, strict=True)
                for factor in calls
            )
        if len({tuple(factor is None for factor in calls) for calls in seen}) > 1:
            print_log(
                'Micro-batches: parts of this batch have other losses than the rest of it, so each was divided by its '
                'own positives.',
                'current',
            )
            self._given = []
            return
        sums = [None if calls[0] is None else sum(calls) for calls in zip(*seen, strict=True)]
        self._given = [[None if total is None else total * weight for total in sums] for weight in weights]

    def begin_part(self) -> None:
        """Be told that the next part is trained on."""
        self._calls = iter(self._given.pop(0)) if self._given and self._seen is None else iter(())
