"""`lr_config`, `momentum_config` -> `param_scheduler`; `runner`, `total_epochs`, `total_iters` -> the training loop."""

from collections.abc import Mapping
from typing import Any

from mmopt.config.keys import POLICIES, REQUIRED, SECTIONS, Key, passed_on
from mmopt.config.schema import ConfigError, canonical_policy, check_keys

__all__ = ['RunLength', 'lower_run_length', 'lower_schedules']

_ITERATION_ONLY = ('Cyclic', 'OneCycle')
_WITHOUT_MOMENTUM = ('Adadelta', 'Adafactor', 'Adagrad', 'ASGD', 'LBFGS', 'Rprop')
_PER_GROUP = ('max_lr', 'base_momentum', 'max_momentum')
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
    optimizer = cfg.get('optimizer') or {}
    return [
        _schedule(section, cfg[section], run, optimizer)
        for section in ('lr_config', 'momentum_config')
        if cfg.get(section) is not None
    ]


def _schedule(section: str, given: Mapping[str, Any], run: RunLength, optimizer: Mapping[str, Any]) -> dict:
    policies = POLICIES[section]
    if not isinstance(given, Mapping) or 'policy' not in given:
        raise ConfigError(f'{section} must be a dict with a policy, got {given!r}; known: {", ".join(policies)}.')
    policy = canonical_policy(section, given['policy'])
    _check_inherited(section, policy, given, policies)
    common = SECTIONS[section]
    keys = {**common.keys, **policies[policy]}
    check_keys(section, given, common._replace(keys=keys))
    _check_required(section, policy, given)
    lowered = passed_on(keys, given, 'param_scheduler')
    lowered |= dict(policy=policy, by_epoch=_by_epoch(section, policy, given, run))
    _check_warmup(section, given, run)
    _check_minimum(section, policy, given)
    _check_length(section, policy, lowered, run)
    _check_groups(section, given, optimizer)
    if section == 'momentum_config' and optimizer.get('type') in _WITHOUT_MOMENTUM:
        raise ConfigError(
            f'momentum_config needs an optimizer with momentum or betas; optimizer.type={optimizer["type"]!r} has '
            "neither: drop momentum_config, or write type='SGD' or 'AdamW'."
        )
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


def _check_required(section: str, policy: str, given: Mapping[str, Any]) -> None:
    for key, example in REQUIRED.get(policy, {}).items():
        if key in POLICIES[section][policy] and given.get(key) is None:
            raise ConfigError(
                f"{section}.{key} is missing: policy {policy} needs it; write {section}=dict(policy='{policy}', "
                f'{key}={example!r}, ...).'
            )


def _check_length(section: str, policy: str, lowered: Mapping[str, Any], run: RunLength) -> None:
    """Refuse a policy that ends before the run; one that counts iterations of epochs is checked when they are known."""
    if policy == 'CosineRestart':
        periods, weights = lowered['periods'], lowered.get('restart_weights', [1])
        if len(periods) != len(weights):
            raise ConfigError(
                f'{section}: policy CosineRestart needs a weight for each period, got periods={list(periods)} and '
                f'restart_weights={list(weights)}; write as many of one as of the other.'
            )
        if sum(periods) < run.maximum and lowered['by_epoch'] != run.iter_based:
            unit = 'iterations' if run.iter_based else 'epochs'
            raise ConfigError(
                f'{section}.periods={list(periods)} cover {sum(periods)} of the {run.maximum} {unit} of the run, and '
                'MMCV 1.x stops there: add a period.'
            )
    if not run.iter_based:
        return
    if policy == 'OneCycle' and lowered.get('total_steps', run.maximum) < run.maximum:
        raise ConfigError(
            f'{section}.total_steps={lowered["total_steps"]} is shorter than the run of {run.maximum} iterations; drop '
            'total_steps.'
        )
    if policy == 'Cyclic' and lowered.get('cyclic_times', 1) > run.maximum:
        raise ConfigError(
            f'{section}.cyclic_times={lowered["cyclic_times"]} cycles do not fit into the {run.maximum} iterations of '
            'the run; write fewer.'
        )


def _check_groups(section: str, given: Mapping[str, Any], optimizer: Mapping[str, Any]) -> None:
    """Refuse a list of values, one per parameter group, where the number of groups is another one."""
    if optimizer.get('constructor') not in (None, 'DefaultOptimizerConstructor'):
        return  # how many groups it makes, it knows alone
    for key in _PER_GROUP:
        value = given.get(key)
        if not isinstance(value, list | tuple):
            continue
        if optimizer.get('paramwise_cfg') is not None:
            raise ConfigError(
                f'{section}.{key}={value!r} gives one value per parameter group, but with optimizer.paramwise_cfg each '
                f'parameter is a group in MMCV 1.x and equal ones are merged here; write one number, and lr_mult in '
                'paramwise_cfg for the others.'
            )
        if len(value) != 1:
            raise ConfigError(
                f'{section}.{key}={value!r} gives {len(value)} values, one per parameter group, but without '
                f'optimizer.paramwise_cfg there is one group; write one number, e.g. {key}='
                f'{value[0] if value else "0.01"}.'
            )
