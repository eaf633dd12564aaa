"""A training step that an out-of-memory error does not end: it is undone and repeated in smaller parts.

The repeated step is bit-equal to one that started at the smaller size (on CUDA with deterministic kernels and without
``cudnn_benchmark``, where the same kernels find room for their workspace). Batch, learning rate, iteration count and
schedule stay what they are. With several processes each runs forward and backward on its own; only when all have
succeeded do they reduce gradients, so a rank that fails leaves nobody waiting. The price: no gradient is reduced while
others are still computed.
"""

import gc
from collections.abc import Callable
from logging import Logger
from typing import Any

from mmengine.dist import get_world_size
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmopt.config.spelling import spelled
from mmopt.engine.loops.step import TrainStep
from mmopt.engine.micro_batch.agreement import Agreement, reduce_gradients
from mmopt.engine.micro_batch.decision import (
    MicroBatchState,
    SmallestFailedError,
    after_failure,
    after_success,
    size_for,
)
from mmopt.engine.micro_batch.notes import inexact_parts
from mmopt.engine.micro_batch.remedies import DoesNotFitError
from mmopt.engine.micro_batch.reserve import StateReserve
from mmopt.engine.micro_batch.rollback import StepSnapshot
from mmopt.engine.parallel.sync_batch_norm import CrossRankBatchNorm
from mmopt.structures import batch_size
from mmopt.utils.errors import UserError
from mmopt.utils.memory import is_out_of_memory
from mmopt.utils.mps import empty_device_cache

__all__ = ['AutoMicroBatchStep']


class AutoMicroBatchStep(TrainStep):
    """Run iterations at the largest micro-batch that fits.

    Args:
        model: The model, possibly in DDP.
        optim_wrapper: See :class:`TrainStep`.
        logger: Where changes of the size go.
        state: From the checkpoint of a resumed run; None begins with whole batches.
        remedies: Says what would help where not even one sample fits; called then, may take a minute.

    Raises:
        UserError: If the model drives its optimizers itself, or talks to other ranks inside its forward pass.
    """

    def __init__(
        self,
        model: nn.Module,
        optim_wrapper: Any,
        logger: Logger,
        state: MicroBatchState | None = None,
        remedies: Callable[[], str] | None = None,
    ) -> None:
        super().__init__(model, optim_wrapper)
        self._check()
        self.logger = logger
        self.state = state or MicroBatchState()
        self._remedies = remedies
        self._has_noted = False
        self._agreement = Agreement()
        self._snapshot = StepSnapshot(self.module)
        self._reserve = StateReserve(optim_wrapper.optimizer)
        # Parts are run without DDP's forward: it would broadcast buffers, and another rank may not be there.
        self.model = self.module

    def _check(self) -> None:
        if self.model_owns_step:
            raise UserError(
                f"optimize.micro_batch='auto': {type(self.module).__name__} has a train_step of its own, which cannot "
                f'be undone and repeated; drop the key and lower {spelled("train_dataloader.batch_size")}.'
            )
        if get_world_size() == 1:
            return
        if not isinstance(self.model, DistributedDataParallel):
            raise UserError(
                f"optimize.micro_batch='auto' works with DistributedDataParallel, not with "
                f'{type(self.model).__name__}; give the size as a number.'
            )
        talking = [
            name
            for name, part in self.module.named_modules()
            if isinstance(part, nn.SyncBatchNorm | CrossRankBatchNorm)
        ]
        if talking:
            raise UserError(
                f"optimize.micro_batch='auto': {talking[0]} is a SyncBatchNorm, whose forward pass waits for the other "
                "ranks, of which one may have run out of memory; use norm_cfg=dict(type='BN'), or give the size as a "
                'number.'
            )

    def _backward(self, batch: Any, normalizers: dict[str, Tensor] | None) -> dict[str, Tensor]:
        num_samples = batch_size(batch)
        # Ranks may have batches of different size; they all decide by the largest.
        (most,) = self._agreement.largest(num_samples)
        self._snapshot.take()
        while True:
            size = size_for(self.state, most)
            log, failure = self._attempt(batch, normalizers, size)
            (has_failed,) = self._agreement.largest(int(failure is not None))
            if not has_failed:
                break
            self._snapshot.restore()
            _return_memory()
            self._shrink(most, failure)
        self._grow(most)
        if self.optim_wrapper.should_sync():  # the step follows
            reduce_gradients(list(self.module.parameters()))
            self._reserve.release()
        noted: dict[str, Any] = dict(micro_batch=float(size))
        return log | noted

    def _attempt(
        self, batch: Any, normalizers: dict[str, Tensor] | None, size: int
    ) -> tuple[dict[str, Tensor], str | None]:
        try:
            return self._run_parts(batch, normalizers, size, reduces=False), None
        except RuntimeError as error:
            if not is_out_of_memory(error):
                raise
            # The text only: the error's frames hold the activations.
            return {}, str(error).strip().splitlines()[0]

    def _shrink(self, num_samples: int, failure: str | None) -> None:
        failed = size_for(self.state, num_samples)
        try:
            self.state = after_failure(self.state, num_samples)
        except SmallestFailedError:
            advice = self._remedies() if self._remedies is not None else ''
            raise DoesNotFitError(failure or 'on another rank.', advice) from None
        self.logger.warning(
            f'Out of memory at micro-batch {failed}: {failure or "on another rank."} The step is repeated at '
            f'{self.state.size}; batch, learning rate and schedule stay.'
        )
        if not self._has_noted:
            self._has_noted = True
            for note in inexact_parts(self.module):
                self.logger.warning(note)

    def _grow(self, num_samples: int) -> None:
        before, self.state = self.state, after_success(self.state, num_samples)
        if self.state.size != before.size:
            self.logger.info(f'Trying micro-batch {self.state.size} after {before.good_iters + 1} iterations.')


def _return_memory() -> None:
    """Give the allocator whole segments back: what a larger attempt cut up may not serve a smaller one."""
    gc.collect()
    empty_device_cache()
