"""Predict a batch in as many parts as memory asks for: samples do not depend on each other, so nothing changes."""

import gc
from logging import Logger
from typing import Any

from torch import nn

from mmopt.engine.micro_batch.decision import MicroBatchState, SmallestFailedError, after_failure, size_for
from mmopt.structures import batch_size, split_batch
from mmopt.utils.errors import UserError
from mmopt.utils.memory import is_out_of_memory
from mmopt.utils.mps import empty_device_cache
from mmopt.utils.precision import this_device

__all__ = ['Predictor']


class Predictor:
    """Run ``val_step`` or ``test_step``; after an out-of-memory error in halves, and so from then on.

    Args:
        module: The model, without its distributed wrapper.
        logger: Where failures go.
        step: Name of the method: those that average over flips and scales have a ``test_step`` of their own.
    """

    def __init__(self, module: nn.Module, logger: Logger, step: str = 'val_step') -> None:
        self.predict: Any = getattr(module, step)
        self.name = f'{type(module).__name__}.{step}'
        self.logger = logger
        self.state = MicroBatchState()

    def __call__(self, batch: Any) -> Any:
        """Predict a batch.

        Args:
            batch: A batch as the loader gives it.

        Returns:
            What the method returns; of several parts their lists, joined.

        Raises:
            UserError: If not even one sample fits.
        """
        if self.state.size is None:
            try:
                return self.predict(batch)
            except RuntimeError as error:
                self._check(error)
                failure = str(error).strip().splitlines()[0]
            self._shrink(batch_size(batch), failure)
        while True:
            try:
                return self._in_parts(batch)
            except RuntimeError as error:
                self._check(error)
                failure = str(error).strip().splitlines()[0]
            self._shrink(batch_size(batch), failure)

    def _in_parts(self, batch: Any) -> list:
        outputs: list = []
        for part in split_batch(batch, size_for(self.state, batch_size(batch))):
            predicted = self.predict(part)
            if not isinstance(predicted, list | tuple):
                raise TypeError(
                    f'{self.name} returned a {type(predicted).__name__}, which cannot be '
                    'joined over the parts of a batch that is too large: lower the batch size of the evaluation.'
                )
            outputs += predicted
        return outputs

    def _check(self, error: RuntimeError) -> None:
        if not is_out_of_memory(error):
            raise error

    def _shrink(self, num_samples: int, failure: str) -> None:
        failed = size_for(self.state, num_samples)
        try:
            self.state = after_failure(self.state, num_samples)
        except SmallestFailedError:
            half = this_device().native_half
            raise UserError(
                f'Out of memory while predicting a single sample: {failure}\nWhat would help: smaller inputs in the '
                f'pipeline of the evaluation{f", or --precision {half}" if half else ""}.'
            ) from None
        self.logger.warning(
            f'Out of memory while predicting {failed} samples at once: {failure} Going on with {self.state.size}.'
        )
        gc.collect()
        empty_device_cache()
