"""Schedulers that compute each value from the iteration alone, with MMCV 1.x's numbers.

Chains of MMEngine's own schedulers multiply last values and are off by up to 47 % with a minimum and a warm-up.
"""

from typing import Any

from mmengine.optim.scheduler.param_scheduler import INF, OptimizerType, _ParamScheduler

from mmopt.engine.schedules.closed_form import Warmup, evaluate
from mmopt.engine.schedules.policies import Horizon, Policy, make_policy
from mmopt.engine.schedules.timetable import Timetable
from mmopt.registry import PARAM_SCHEDULERS

__all__ = ['ClosedFormLR', 'ClosedFormMomentum']


class _ClosedForm(_ParamScheduler):
    """What both schedulers share.

    A scheduler is built without knowing the length of the run, which the runner tells by :meth:`set_horizon` before
    the first iteration; from then on every parameter group holds the value of the coming iteration, and :meth:`step`
    moves on by one. Initial values live in the parameter groups (``initial_lr``), hence in the optimizer's checkpoint:
    a resumed run takes them from there. The state is one number.

    Args:
        optimizer: Optimizer or its wrapper.
        policy: Name as in MMCV, e.g. ``'Poly'``.
        by_epoch: Whether the policy counts epochs. The scheduler itself is stepped every iteration all the same.
        warmup: ``'constant'``, ``'linear'``, ``'exp'`` or None.
        warmup_iters: Length of the warm-up.
        warmup_ratio: Share of the regular value at its beginning.
        warmup_by_epoch: Whether ``warmup_iters`` counts epochs.
        begin: First iteration with a value of its own; only 0 is possible.
        end: MMEngine's default for the last step; the horizon replaces it.
        **keys: The policy's own keys.

    Raises:
        ValueError: If the policy, a key or a value is wrong.
    """

    momentum = False

    # The parent's constructor is not called: it patches `optimizer.step` to warn when a scheduler steps first, which is
    # the normal case under accumulation, and it needs `group['momentum']`, which Adam does not have.
    def __init__(
        self,
        optimizer: OptimizerType,
        policy: str,
        *,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
        begin: int = 0,
        end: int = INF,
        **keys: Any,
    ) -> None:
        if begin != 0:
            raise ValueError(f'{type(self).__name__}: begin must be 0, got {begin}: it covers the whole run.')
        self.optimizer = optimizer
        self.param_name = 'momentum' if self.momentum else 'lr'
        self.policy: Policy = make_policy(policy, keys, momentum=self.momentum)
        if by_epoch and self.policy.iteration_only:
            raise ValueError(f'{type(self).__name__}: policy {policy} runs by iteration only; write by_epoch=False.')
        self.warmup = Warmup(warmup, warmup_iters, warmup_ratio, warmup_by_epoch)
        self.policy_by_epoch = by_epoch
        self.by_epoch = False  # towards MMEngine's ParamSchedulerHook: step after every iteration
        self.begin, self.end = begin, end
        self.last_step = 0
        self.horizon: Horizon | None = None
        self._record_initial_values()

    def set_horizon(
        self, *, epoch_length: int, max_iters: int, max_epochs: int, timetable: Timetable | None = None
    ) -> None:
        """Tell the length of the run and put the values of the current iteration into the parameter groups.

        Args:
            epoch_length: Iterations per epoch.
            max_iters: Iterations of the whole run.
            max_epochs: Epochs of the whole run.
            timetable: Of runs whose epochs differ in length.

        Raises:
            ValueError: If the policy cannot cover it.
        """
        horizon = Horizon(epoch_length, max_iters, max_epochs, timetable)
        self.policy.check(horizon, by_epoch=self.policy_by_epoch)
        self.horizon = horizon
        self.end = max_iters
        self._apply()

    def set_iteration(self, i: int) -> None:
        """Go to an iteration, for checkpoints without scheduler state.

        Args:
            i: Finished iterations.
        """
        self.last_step = i
        self._apply()

    def step(self) -> None:
        """Move on by one iteration."""
        self.last_step += 1
        self._apply()

    def get_last_value(self) -> list[float]:
        """Return the current value of every parameter group."""
        return [self._read(group) for group in self.optimizer.param_groups]

    def state_dict(self) -> dict:
        """Return the state: the number of finished iterations."""
        return dict(last_step=self.last_step)

    def load_state_dict(self, state_dict: dict) -> None:
        """Go to where a checkpoint was; the policy is the config's, as in MMCV.

        Args:
            state_dict: What :meth:`state_dict` returned.
        """
        self.set_iteration(state_dict['last_step'])

    def _record_initial_values(self) -> None:
        # Loading an optimizer's state replaces its groups, so this is asked again at every use.
        for index, group in enumerate(self.optimizer.param_groups):
            key = f'initial_{self.param_name}'
            if key not in group:
                group[key] = self._default_initial(group, index)

    def _default_initial(self, group: dict, index: int) -> float:
        return self.policy.base(self._read(group), index)

    def _get_value(self) -> list[float]:
        self._record_initial_values()
        return [
            evaluate(
                self.policy,
                self.warmup,
                self.last_step,
                self.horizon,  # type: ignore[arg-type]  # set_horizon() has come; an assert would run at every iteration
                by_epoch=self.policy_by_epoch,
                initial=group[f'initial_{self.param_name}'],
                group=index,
                momentum=self.momentum,
            )
            for index, group in enumerate(self.optimizer.param_groups)
        ]

    def _apply(self) -> None:
        # After the last iteration there is no next one: the values stay, as in MMCV.
        if self.horizon is None or self.last_step >= self.end:
            return
        for group, value in zip(self.optimizer.param_groups, self._get_value(), strict=True):
            self._write(group, value)

    def _read(self, group: dict) -> float:
        return group['lr']

    def _write(self, group: dict, value: float) -> None:
        group['lr'] = value


@PARAM_SCHEDULERS.register_module()
class ClosedFormLR(_ClosedForm):
    """Learning rate by one of MMCV's policies; see the base class for arguments."""


@PARAM_SCHEDULERS.register_module()
class ClosedFormMomentum(_ClosedForm):
    """Momentum, or Adam's first beta, by one of MMCV's policies; see the base class for arguments.

    Args:
        optimizer: Optimizer or its wrapper.
        policy: Name as in MMCV, e.g. ``'Cyclic'``.
        warmup_ratio: The regular value is divided by it at the beginning of the warm-up.
        **kwargs: Passed on.

    Raises:
        ValueError: If the optimizer has neither a momentum nor betas.
    """

    momentum = True

    def __init__(self, optimizer: OptimizerType, policy: str, *, warmup_ratio: float = 0.9, **kwargs: Any) -> None:
        super().__init__(optimizer, policy, warmup_ratio=warmup_ratio, **kwargs)

    def _read(self, group: dict) -> float:
        if 'momentum' in group:
            return group['momentum']
        if 'betas' in group:
            return group['betas'][0]
        raise ValueError(
            f'{type(self).__name__} needs an optimizer with momentum or betas, got one whose groups have '
            f'{sorted(group)}.'
        )

    def _write(self, group: dict, value: float) -> None:
        if 'momentum' in group:
            group['momentum'] = value
        else:
            group['betas'] = (value, group['betas'][1])
