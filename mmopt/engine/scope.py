"""Sections of a config with their types looked up where the config may name them: its scope, MMEngine, mmopt."""

import warnings
from collections.abc import Mapping
from typing import Any

from mmengine.config.utils import MODULE2PACKAGE

from mmopt.registry import EVALUATOR, METRICS, PARAM_SCHEDULERS, is_known_scope
from mmopt.utils.errors import ConfigWarning, UserError
from mmopt.utils.terminal import nearest

__all__ = ['resolve_evaluator', 'resolve_schedulers', 'warn_of_unknown_scope', 'without_own_loop']


def warn_of_unknown_scope(cfg: Mapping[str, Any]) -> None:
    """Warn of a ``default_scope`` that is neither a package nor one that anything was registered for.

    No error: a project may register all that it has in MMEngine's own registries, and call itself as it likes.

    Args:
        cfg: A config whose ``custom_imports`` are imported.
    """
    scope = cfg.get('default_scope')
    if not isinstance(scope, str) or is_known_scope(scope):
        return
    near = nearest(scope, ['mmopt', 'mmengine', *MODULE2PACKAGE])
    hint = f'Did you mean {" or ".join(near)}? ' if near else ''
    warnings.warn(
        f'default_scope={scope!r}: no package of this name is installed and nothing is registered for it, so that '
        f'types are looked up in MMEngine and mmopt alone. {hint}Otherwise install it (pip install '
        f'{MODULE2PACKAGE.get(scope, scope)}), or name the module that registers its types in custom_imports.',
        ConfigWarning,
        stacklevel=1,  # one place, so that Python says it once however often a config is read
    )


def resolve_evaluator(evaluator: Any) -> Any:
    """Look up an evaluator and its metrics.

    Args:
        evaluator: A section ``val_evaluator``: a metric, a list of them, a dict with ``metrics``, or what is built.

    Returns:
        The section to build.
    """
    if isinstance(evaluator, list | tuple):
        return [METRICS.resolve(metric) for metric in evaluator]
    if not isinstance(evaluator, Mapping) or 'metrics' not in evaluator:
        return METRICS.resolve(evaluator)
    metrics = resolve_evaluator(evaluator['metrics'])
    return EVALUATOR.resolve({'type': 'mmengine.Evaluator', **evaluator, 'metrics': metrics})


def resolve_schedulers(schedulers: Any) -> Any:
    """Look up schedulers.

    Args:
        schedulers: A section ``param_scheduler``: one, a list of them, or such by optimizer.

    Returns:
        The section to build.
    """
    if isinstance(schedulers, list | tuple):
        return [resolve_schedulers(item) for item in schedulers]
    if isinstance(schedulers, Mapping) and 'type' not in schedulers:
        return {name: resolve_schedulers(item) for name, item in schedulers.items()}
    return PARAM_SCHEDULERS.resolve(schedulers)


def without_own_loop(name: str, micro_batch: Any) -> str:
    """Say what a training loop of another library does without.

    Args:
        name: Of the loop's class.
        micro_batch: What ``optimize`` asks for.

    Returns:
        The warning.

    Raises:
        UserError: If something is asked for that such a loop cannot do.
    """
    if micro_batch is not None:
        raise UserError(
            f'optimize.micro_batch={micro_batch!r}: {name} runs its iterations itself; drop the key, or derive the '
            'loop from one of mmopt.engine.'
        )
    return (
        f'{name} is no loop of mmopt and runs its iterations itself: a loss that is not finite is not noticed, a '
        'signal stops the run without a checkpoint, and a run resumed within an epoch begins the epoch anew.'
    )
