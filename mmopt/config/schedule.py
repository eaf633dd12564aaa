"""`lr_config`, `momentum_config` -> `param_scheduler`; `runner`, `total_epochs`, `total_iters` -> the training loop."""

from collections.abc import Mapping
from typing import Any

from mmopt.config.keys import POLICIES, SECTIONS, Key, passed_on
from mmopt.config.schema import ConfigError, canonical_policy, check_keys

__all__ = ['RunLength', 'lower_run_length', 'lower_schedules']

_ITERATION_ONLY = ('Cyclic', 'OneCycle')
_MINIMUM_REQUIRED = ('CosineAnnealing', 'FlatCosineAnnealing', 'CosineRestart', 'LinearAnnealing', 'YOLOX')


class RunLength:
    """How long a run is and in what unit.

    Args:
        iter_based: Whether the run counts iterations.
        maximum: Its number of iterations or epochs.
    """

    def __init__(self, *, iter_based: bool, maximum: int) -> None:
        self.iter_based = iter_based
        self.maximum = maximum

    @property
    def runner_type(self) -> str:
        return 'IterBasedRunner' if self.iter_based else 'EpochBasedRunner'


def lower_run_length(cfg: Mapping[str, Any]) -> RunLength | None:
    """Read ``runner``, or ``total_epochs`` and ``total_iters`` of older configs; None when the config has none.

    Args:
        cfg: The whole config.

    Returns:
        The length, or None for a config that trains nothing.

    Raises:
        ConfigError: If the keys contradict each other or the runner is not one of MMCV's two.
    """
    runner = cfg.get('runner')
    totals = {key: cfg[key] for key in ('total_epochs', 'total_iters') if cfg.get(key) is not None}
    if runner is None:
        if len(totals) > 1:
            raise ConfigError(f'Both total_epochs and total_iters are set ({totals}): keep one.')
        for key, value in totals.items():
            return RunLength(iter_based=key == 'total_iters', maximum=value)
        return None
    check_keys('runner', runner)
    kind = runner.get('type', 'EpochBasedRunner')
    if kind not in ('EpochBasedRunner', 'IterBasedRunner'):
        raise ConfigError(f'runner.type={kind!r} is not known; write EpochBasedRunner or IterBasedRunner.')
    iter_based = kind == 'IterBasedRunner'
    key, other = ('max_iters', 'max_epochs') if iter_based else ('max_epochs', 'max_iters')
    if runner.get(other) is not None:
        remedy = 'EpochBasedRunner' if iter_based else 'IterBasedRunner'
        raise ConfigError(
            f'runner.{other}={runner[other]!r} does not belong to {kind}, which takes {key}; write {key}, or '
            f"type='{remedy}' (and remove {key})."
        )
    if runner.get(key) is None:
        raise ConfigError(f'runner.{key} is missing: {kind} needs it.')
    total_key = 'total_iters' if iter_based else 'total_epochs'
    if totals.get(total_key, runner[key]) != runner[key]:
        raise ConfigError(f'{total_key}={totals[total_key]!r} and runner.{key}={runner[key]!r} differ: keep runner.')
    return RunLength(iter_based=iter_based, maximum=runner[key])


def lower_schedules(cfg: Mapping[str, Any], run: RunLength) -> list[dict]:
    """Lower ``lr_config`` and ``momentum_config``.

    Args:
        cfg: The whole config.

    Returns:
        The ``param_scheduler`` section: no, one or two closed-form schedulers.

    Raises:
        ConfigError: If a policy, a key or a combination is not one that MMCV runs.
    """
    schedulers = []
    if cfg.get('lr_config') is not None:
        schedulers.append(_schedule('lr_config', cfg['lr_config'], run))
    if cfg.get('momentum_config') is not None:
        schedulers.append(_schedule('momentum_config', cfg['momentum_config'], run))
    return schedulers


def _schedule(section: str, given: Mapping[str, Any], run: RunLength) -> dict:
    policies = POLICIES[section]
    if not isinstance(given, Mapping) or 'policy' not in given:
        raise ConfigError(f'{section} must be a dict with a policy, got {given!r}; known: {", ".join(policies)}.')
    policy = canonical_policy(section, given['policy'])
    _check_inherited(section, policy, given, policies)
    common = SECTIONS[section]
    keys = {**common.keys, **policies[policy]}
    check_keys(section, given, common._replace(keys=keys))
    lowered = passed_on(keys, given, 'param_scheduler')
    lowered |= dict(policy=policy, by_epoch=_by_epoch(section, policy, given, run))
    _check_warmup(section, given, run)
    _check_minimum(section, policy, given)
    return dict(type='ClosedFormLR' if section == 'lr_config' else 'ClosedFormMomentum', **lowered)


def _check_inherited(
    section: str,
    policy: str,
    given: Mapping[str, Any],
    policies: Mapping[str, Mapping[str, Key]],
) -> None:
    """Name a key that came from a `_base_` with another policy: MMCV fails there with a bare TypeError."""
    for key in given:
        owners = [name for name, keys in policies.items() if key in keys]
        if owners and key not in policies[policy]:
            raise ConfigError(
                f'{section}.{key} does not belong to policy {policy} but to {", ".join(owners)}; if a _base_ config '
                f"brought it in, write {section}=dict(_delete_=True, policy='{policy}', ...)."
            )


def _by_epoch(section: str, policy: str, given: Mapping[str, Any], run: RunLength) -> bool:
    if policy in _ITERATION_ONLY:
        if given.get('by_epoch'):
            raise ConfigError(f'{section}.by_epoch=True: policy {policy} runs by iteration only; drop the key.')
        return False
    # MMCV's IterBasedRunner sets lr_config.by_epoch to False by itself, momentum_config.by_epoch it leaves at True.
    by_epoch = given.get('by_epoch', not run.iter_based or section == 'momentum_config')
    if by_epoch and run.iter_based:
        what = 'learning rate' if section == 'lr_config' else 'momentum'
        raise ConfigError(
            f'{section}.by_epoch=True with IterBasedRunner: MMCV never ends an epoch there, so the {what} would stay '
            f'unchanged; write {section}=dict(by_epoch=False, ...).'
        )
    return by_epoch


def _check_warmup(section: str, given: Mapping[str, Any], run: RunLength) -> None:
    kind = given.get('warmup')
    if kind is None:
        return
    if kind not in ('constant', 'linear', 'exp'):
        raise ConfigError(f"{section}.warmup={kind!r} is unknown; write 'constant', 'linear' or 'exp'.")
    if (given.get('warmup_iters') or 0) <= 0:
        raise ConfigError(f'{section}.warmup_iters must be positive when warmup={kind!r}: write its length.')
    ratio = given.get('warmup_ratio')
    if ratio is not None and not 0 < ratio <= 1:
        raise ConfigError(f'{section}.warmup_ratio must be in (0, 1], got {ratio!r}.')
    if given.get('warmup_by_epoch') and run.iter_based:
        raise ConfigError(
            f'{section}.warmup_by_epoch=True with IterBasedRunner: there are no epochs; write warmup_iters in '
            'iterations and drop warmup_by_epoch.'
        )


def _check_minimum(section: str, policy: str, given: Mapping[str, Any]) -> None:
    if policy not in _MINIMUM_REQUIRED:
        return
    name = 'min_lr' if section == 'lr_config' else 'min_momentum'
    if (given.get(name) is None) == (given.get(f'{name}_ratio') is None):
        raise ConfigError(f'{section}: policy {policy} needs exactly one of {name} and {name}_ratio.')
