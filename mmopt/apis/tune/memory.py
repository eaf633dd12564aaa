"""What fits: the estimate of memory before anything runs, as far as the device has a memory to exceed."""

from collections.abc import Callable, Sequence

from mmopt.apis.memory.estimate import estimate_memory
from mmopt.engine.tuner import Point, Space
from mmopt.utils.optional import run_optional

__all__ = ['make_fits']


def make_fits(
    config: str, options: Sequence[str], space: Space, budget_bytes: int, say: Callable[[str], None]
) -> Callable[[Point], bool]:
    """Estimate all combinations of batch, precision and checkpointing at once.

    Args:
        options: Options of the user.
        space: What is searched.
        budget_bytes: Memory of the card.
        say: Takes a line for the user.

    Returns:
        Whether a point may fit: only what exceeds the budget even by the lowest estimate is ruled out. A config that
        cannot be estimated rules out nothing: then trials find it out.
    """
    values = {knob.name: knob.values for knob in space.knobs}
    checkpointings = [('blocks' if on else 'none') for on in values.get('checkpointing', ())]
    report = run_optional(
        'memory estimate (trials find out what fits)',
        say,
        estimate_memory,
        config,
        options=options,
        batch_sizes=values['batch'],
        precisions=values.get('precision', ()),
        checkpointings=checkpointings,
    )
    if report is None:
        return lambda point: True
    least = {}
    for case in report.cases:
        key = (case['batch_size'], case['precision'] if 'precision' in values else None)
        least[(*key, case['checkpointing'] if checkpointings else None)] = report.card_bytes(case)[0]

    def fits(point: Point) -> bool:
        blocks = None if 'checkpointing' not in point else 'blocks' if point['checkpointing'] else 'none'
        estimated = least.get((point['batch'], point.get('precision'), blocks))
        return estimated is None or estimated <= budget_bytes

    return fits
