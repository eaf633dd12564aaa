"""Choose the training step that a config asks for."""

from typing import Any

from mmopt.engine.loops.step import TrainStep
from mmopt.engine.micro_batch.decision import MicroBatchState
from mmopt.engine.micro_batch.first_batch import CheckpointBudget
from mmopt.engine.micro_batch.notes import inexact_parts
from mmopt.engine.micro_batch.remedies import remedies
from mmopt.engine.micro_batch.step import AutoMicroBatchStep
from mmopt.engine.switches.checkpointing import budget_bytes

__all__ = ['build_step']


def build_step(runner: Any, micro_batch: int | str | None, found: MicroBatchState | None = None) -> TrainStep:
    """Build the step of a run.

    Args:
        runner: The runner: its model, optimizer wrapper, config and logger are used.
        micro_batch: Samples per forward pass, ``'auto'``, or None for whole batches.
        found: What a resumed run had found for ``'auto'``.

    Returns:
        The step.
    """
    step: TrainStep
    if micro_batch == 'auto':
        step = AutoMicroBatchStep(
            runner.model, runner.optim_wrapper, runner.logger, found, lambda: remedies(runner.cfg)
        )
    else:
        assert not isinstance(micro_batch, str), micro_batch
        step = TrainStep(runner.model, runner.optim_wrapper, micro_batch)
        if micro_batch is not None and not step.model_owns_step:
            for note in inexact_parts(step.module):
                runner.logger.warning(note)
    value = (runner.cfg.get('optimize') or {}).get('checkpointing')
    if budget_bytes(value) is not None:
        step.before_first = CheckpointBudget(value, runner.logger)
    return step
