"""Which behaviors are looked for in a recording that nobody annotated.

A rule is ``agent,target,action``, as in MABe's ``behaviors_labeled``, where instead of mice ``self`` stands for every
animal by itself, ``pair`` for every ordered pair, and ``all`` for the session as a whole: ``self,rear``,
``pair,attack``, ``all,investigation``.
"""

from collections.abc import Iterable, Sequence
from itertools import permutations

from mmopt.datasets.tad.layout import ALL, Video, parse_behavior
from mmopt.utils.errors import UserError

__all__ = ['expand_rules', 'rules_of']

_KINDS = ('self', 'pair', 'all')
Triple = tuple[int, int, int]
"""Agent, target and action."""


def rules_of(videos: Iterable[Video]) -> tuple[str, ...]:
    """Return what the annotators of some videos looked for, as rules of kinds."""
    return tuple(sorted({f'{_kind(a, t)},{action}' for video in videos for a, t, action in video.labeled}))


def _kind(agent: int, target: int) -> str:
    if agent == ALL:
        return 'all'
    return 'self' if agent == target else 'pair'


def expand_rules(rules: Sequence[str], classes: Sequence[str], num_animals: int) -> list[Triple]:
    """Turn rules into the behaviors of a recording.

    Args:
        rules: See the module.
        classes: Names of the actions.
        num_animals: Animals of the recording.

    Returns:
        Each behavior once, in the order of the rules; those of animals that are not there are left out.

    Raises:
        UserError: If a rule is none, or names an unknown action.
    """
    triples: dict[Triple, None] = {}
    number = {name: place for place, name in enumerate(classes)}
    for rule in rules:
        kind, _, action = rule.partition(',')
        try:
            pairs = _pairs(kind.strip(), num_animals)
            agent, target, action = parse_behavior(rule) if pairs is None else (0, 0, action.strip().strip('\'"'))
        except ValueError as error:
            raise UserError(
                f'--behaviors {rule}: {error}. Write agent,target,action (mouse1,mouse2,attack), self,action, '
                'pair,action or all,action.'
            ) from error
        if action not in number:
            raise UserError(f'--behaviors {rule}: the model knows no {action!r}; it knows {", ".join(classes)}.')
        for one, other in [(agent, target)] if pairs is None else pairs:
            if max(one, other) < num_animals:
                triples[one, other, number[action]] = None
    return list(triples)


def _pairs(kind: str, num_animals: int) -> list[tuple[int, int]] | None:
    """Return who does it to whom; None where the rule names two animals."""
    if kind not in _KINDS:
        return None
    if kind == 'all':
        return [(ALL, ALL)]
    return [(n, n) for n in range(num_animals)] if kind == 'self' else list(permutations(range(num_animals), 2))
