"""Which metrics have a best checkpoint, and whether more or less of each is better."""

from collections.abc import Mapping, Sequence
from typing import Any

from mmopt.config.spelling import spelled
from mmopt.engine.loops.measure import score_of
from mmopt.utils.errors import UserError
from mmopt.utils.score_rule import score_rule

__all__ = ['as_list', 'find_score', 'infer_rule', 'parse_rules']


# Of the kinds that MMEngine's hook raises.
class _SettingError(UserError, AssertionError):
    pass


class _UnknownRuleError(UserError, ValueError):
    pass


class _NoRuleError(UserError, KeyError):
    pass


def infer_rule(metric: str, greater: Sequence[str] | None = None, less: Sequence[str] | None = None) -> str:
    """Tell whether more or less of a metric is better, by key words.

    Args:
        metric: Name of the metric.
        greater: Key words that stand for more; None: mmcv's.
        less: Key words that stand for less; None: mmcv's.

    Returns:
        ``'greater'`` or ``'less'``.

    Raises:
        UserError: If no key word is in the name.
    """
    rule = score_rule(metric, greater, less)
    if rule is not None:
        return rule
    raise _UnknownRuleError(
        f'{spelled("default_hooks.checkpoint.save_best")}={metric!r}: cannot tell whether more or less is better; say '
        f"{spelled('default_hooks.checkpoint.rule')}='greater' or 'less'."
    )


def as_list(words: str | Sequence[str] | None) -> list[str] | None:
    """Return key words as a list; None stays None."""
    return [words] if isinstance(words, str) else None if words is None else list(words)


def parse_rules(
    save_best: str | Sequence[str] | None,
    rule: str | Sequence[str | None] | None,
    greater: Sequence[str] | None,
    less: Sequence[str] | None,
) -> dict[str, str | None]:
    """Return the rule of every metric; None only for ``'auto'``, whose metric is not known yet.

    Args:
        save_best: See :class:`~mmopt.engine.hooks.CheckpointHook`.
        rule: See there.
        greater: Key words that stand for more; None: mmcv's.
        less: Key words that stand for less; None: mmcv's.

    Returns:
        Metric -> ``'greater'``, ``'less'`` or None.

    Raises:
        UserError: If one of them is none of these, or a metric has no rule and a name that tells none.
    """
    if save_best is None:
        return {}
    names = [save_best] if isinstance(save_best, str) else save_best
    if not isinstance(names, Sequence) or not all(isinstance(name, str) and name for name in names):
        raise _SettingError(
            f"{spelled('default_hooks.checkpoint.save_best')} must be a metric's name, a list of them, 'auto' or "
            f'None, got {save_best!r}.'
        )
    rules: list[Any] = list(rule) if isinstance(rule, Sequence) and not isinstance(rule, str) else [rule]
    if len(rules) == 1:
        rules *= len(names)
    if len(rules) != len(names):
        raise _SettingError(
            f'{spelled("default_hooks.checkpoint.rule")} has {len(rules)} entries for the {len(names)} metrics of '
            'save_best.'
        )
    for item in rules:
        if item not in ('greater', 'less', None):
            kind = _NoRuleError if isinstance(item, str) else _SettingError
            raise kind(f"{spelled('default_hooks.checkpoint.rule')} must be 'greater' or 'less', got {item!r}.")
    return {
        name: item if item is not None or name == 'auto' else infer_rule(name, greater, less)
        for name, item in zip(names, rules, strict=True)
    }


def find_score(metrics: Mapping[str, Any], name: str) -> float:
    """Look a metric up by its name, or by the part after MMEngine's prefix (``coco/bbox_mAP``).

    Args:
        metrics: Of an evaluation.
        name: The metric.

    Returns:
        Its value.

    Raises:
        UserError: If there is none or more than one of the name, or its value is no number.
    """
    matches = [key for key in metrics if key == name] or [key for key in metrics if key.rsplit('/', 1)[-1] == name]
    if len(matches) != 1:
        raise UserError(
            f'{spelled("default_hooks.checkpoint.save_best")}={name!r} is {"ambiguous" if matches else "not"} among '
            'the metrics of this '
            f'evaluation: {", ".join(matches or metrics)}.'
        )
    return score_of(metrics, matches[0], f'{spelled("default_hooks.checkpoint.save_best")}={name!r}')
