"""Decide with the first batch what cannot be decided without one: which blocks to checkpoint for a budget."""

from logging import Logger
from typing import Any

from torch import Tensor, nn

from mmopt.engine.loops.step import TrainStep, forward_losses, sum_losses
from mmopt.engine.micro_batch.rollback import StepSnapshot
from mmopt.engine.switches import Effect, report
from mmopt.engine.switches.checkpoint_budget import checkpoint_to_budget
from mmopt.engine.switches.checkpointing import budget_bytes, choose_modules
from mmopt.structures import batch_size, split_batch
from mmopt.utils.placement import device_of

__all__ = ['CheckpointBudget']

_NUM_SAMPLES = 2  # one alone is too few for BatchNorm behind a global pooling


class CheckpointBudget:
    """Measure two samples of the first batch, choose the blocks, and leave no trace in statistics or random numbers.

    Args:
        value: ``optimize.checkpointing`` of a config, with a budget.
        logger: Where the choice goes when a step calls this; None is for those who ask :meth:`choose`.
    """

    def __init__(self, value: Any, logger: Logger | None = None) -> None:
        self.value = value
        self.logger = logger

    def __call__(self, step: TrainStep, batch: Any, normalizers: dict[str, Tensor] | None) -> None:
        """Choose blocks; see :attr:`TrainStep.before_first`."""
        assert self.logger is not None, 'only choose() does without'
        report(dict(checkpointing=self.choose(step, batch, normalizers)), self.logger)

    def choose(self, step: TrainStep, batch: Any, normalizers: dict[str, Tensor] | None) -> Effect:
        """Choose blocks and checkpoint them."""
        module: nn.Module = step.module
        modules, nothing = choose_modules(module, self.value)
        limit = budget_bytes(self.value)
        if not modules or limit is None:
            return Effect(nothing, is_effective=False)
        part = split_batch(batch, _NUM_SAMPLES)[0]
        num_samples = min(batch_size(batch), step.micro_batch or batch_size(batch))
        device_type = device_of(module).type

        def run() -> Tensor:
            with step.optim_wrapper.autocast(device_type):
                return sum_losses(forward_losses(module, part, normalizers))[0]

        snapshot = StepSnapshot(module)
        snapshot.take()
        try:
            return checkpoint_to_budget(
                modules,
                run,
                limit,
                scale=num_samples / batch_size(part),
                selective=bool(self.value.get('selective', False)),
            )
        finally:
            snapshot.restore()
