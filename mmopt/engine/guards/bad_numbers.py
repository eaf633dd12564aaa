"""Losses that are not finite: found before the optimizer sees their gradient, on any device, without draining it.

The loss is copied to the host while the backward pass is being queued. Before the optimizer's step the host waits for
that copy alone: for the end of the *forward* pass, with the whole backward pass still queued behind it, so a GPU never
runs dry for it. Gradients of a finite loss may still be infinite; under fp16 the
loss scaler skips those steps, otherwise the next iteration's loss tells.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from mmopt.engine.guards.diagnose import Diagnosis
from mmopt.engine.guards.weights import bad_weights, describe_bad_weights
from mmopt.engine.optim import OptimWrapper
from mmopt.utils.errors import UserError
from mmopt.utils.mps import copies_in_order
from mmopt.utils.placement import device_of
from mmopt.utils.transfer import copy_all

__all__ = ['BadNumberError', 'BadNumberGuard', 'BadNumberPolicy', 'RollBack']

ACTIONS = ('raise', 'skip', 'rollback')


class BadNumberError(UserError, ArithmeticError):
    """A loss is NaN or infinite; the message says where it comes from."""


class RollBack(Exception):
    """The run is to go back to its last checkpoint.

    Args:
        report: What was wrong, for the log.
        explain: Returns the whole message, should there be no way back.
    """

    def __init__(self, report: str, explain: Callable[[], str]) -> None:
        super().__init__(report)
        self.report = report
        self.explain = explain


@dataclass(frozen=True)
class BadNumberPolicy:
    """What to do about a loss that is NaN or infinite.

    Attributes:
        action: ``'raise'`` ends the run with everything that is known; ``'skip'`` leaves the iteration out: no step,
            gradients that waited in its accumulation window are dropped, BatchNorm statistics are as before;
            ``'rollback'`` goes back to the last checkpoint with a lower learning rate.
        max_in_a_row: ``'skip'``: as many may follow one another; one more ends the run.
        lr_factor: ``'rollback'``: the learning rate is multiplied by it, at each rollback to one checkpoint once more.
        max_rollbacks: ``'rollback'``: as many in one run; one more ends it.
    """

    action: str = 'raise'
    max_in_a_row: int = 10
    lr_factor: float = 0.5
    max_rollbacks: int = 3

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise UserError(f'bad_numbers.action must be one of {", ".join(map(repr, ACTIONS))}, got {self.action!r}.')
        if self.max_in_a_row < 1 or self.max_rollbacks < 1:
            raise UserError(
                f'bad_numbers.max_in_a_row and max_rollbacks must be at least 1, got {self.max_in_a_row} and '
                f'{self.max_rollbacks}.'
            )
        if not 0 < self.lr_factor <= 1:
            raise UserError(f'bad_numbers.lr_factor must be in (0, 1], got {self.lr_factor!r}.')


class BadNumberGuard:
    """Watch the losses of each iteration and act on bad ones. One guard serves one training step.

    Args:
        module: The model, without its distributed wrapper.
        iters_done: Returns the number of finished iterations.
        warn: Takes what is to be logged.
        ask_all: Returns the largest of a number over all ranks, which then act alike; None: each acts for itself.
    """

    def __init__(
        self,
        policy: BadNumberPolicy,
        module: nn.Module,
        optim_wrapper: OptimWrapper,
        *,
        iters_done: Callable[[], int],
        warn: Callable[[str], None],
        ask_all: Callable[[int], int] | None = None,
    ) -> None:
        self.policy = policy
        self.module = module
        self.optim_wrapper = optim_wrapper
        self.iters_done = iters_done
        self.warn = warn
        self._ask_all = ask_all
        self._in_a_row = 0
        self.num_skipped = 0
        """Iterations left out in this session."""
        device = device_of(module)
        self._event = torch.cuda.Event() if device.type == 'cuda' else None
        self._sum: Tensor | None = None
        # Page-locked, or the copy would wait for the device.
        self._host = torch.zeros((), pin_memory=self._event is not None)
        self._view = self._host.numpy()
        # A NaN would stay in running statistics for ever.
        self._buffers = [*module.buffers()] if policy.action == 'skip' else []
        self._before = [buffer.clone() for buffer in self._buffers]

    def begin(self) -> None:
        """Start an iteration: to be called before its forward pass."""
        self._sum = None
        copy_all(self._before, self._buffers)

    def watch(self, loss: Tensor) -> None:
        """Send a loss to the host: to be called after each forward pass, before its backward pass."""
        # What is not finite stays so in a sum of micro-batches; half precision could overflow in it.
        loss = loss.detach().float()
        self._sum = loss if self._sum is None else self._sum + loss
        self._host.copy_(self._sum, non_blocking=copies_in_order(self._sum.device))
        if self._event is not None:
            self._event.record()

    def is_bad(self) -> bool:
        """Tell whether a loss of this iteration was not finite, on any rank where all must act alike."""
        if self._event is not None:
            self._event.synchronize()
        bad = not math.isfinite(self._view.item())
        if self._ask_all is not None:
            bad = bool(self._ask_all(int(bad)))
        if not bad:
            self._in_a_row = 0
        return bad

    @torch.no_grad()
    def act(self, log: Mapping[str, Tensor], batch: Any, forward: Callable[[], Any]) -> None:
        """Do what the policy says.

        Args:
            log: The iteration's scalars.
            batch: The preprocessed batch.
            forward: Runs it again.

        Raises:
            BadNumberError: Under ``'raise'``, after too many skips in a row, and if the weights themselves are bad.
            RollBack: Under ``'rollback'``.
        """
        diagnosis = self._diagnosis(log, batch, forward)
        if self.policy.action == 'rollback':
            raise RollBack(diagnosis.headline(), diagnosis.explain)
        if self.policy.action == 'raise':
            raise BadNumberError(diagnosis.explain())
        bad = bad_weights(self.module)
        if bad if self._ask_all is None else self._ask_all(int(bool(bad))):
            bad = bad or ['those of another process']
            raise BadNumberError(f'{diagnosis.headline()} {describe_bad_weights(bad, self.iters_done())}')
        copy_all(self._buffers, self._before)
        self._in_a_row += 1
        if self._in_a_row > self.policy.max_in_a_row:
            raise BadNumberError(
                f'{diagnosis.explain()}\n  More than bad_numbers.max_in_a_row={self.policy.max_in_a_row} iterations '
                'followed one another with such a loss.'
            )
        self.num_skipped += 1
        self.optim_wrapper.skip_iteration()
        self.warn(f'{diagnosis.headline()} Skipped ({self._in_a_row} in a row). {diagnosis.samples_line()}')

    def _diagnosis(self, log: Mapping[str, Tensor], batch: Any, forward: Callable[[], Any]) -> Diagnosis:
        scaler = getattr(self.optim_wrapper, 'loss_scaler', None)

        def again() -> Any:
            with self.optim_wrapper.autocast(device_of(self.module).type):
                return forward()

        return Diagnosis(
            iteration=self.iters_done() + 1,
            log=log,
            learning_rates=[group['lr'] for group in self.optim_wrapper.optimizer.param_groups],
            loss_scale=scaler.get_scale() if scaler is not None and scaler.is_enabled() else None,
            batch=batch,
            module=self.module,
            forward=again,
        )
