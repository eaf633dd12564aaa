"""What somebody says about a setting, beside what was measured: each quantity with its unit, reading and direction."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest

__all__ = ['QUANTITIES', 'Quantity', 'check_claims', 'format_range']


@dataclass(frozen=True)
class Quantity:
    """Something that a table may claim.

    Attributes:
        title: Head of its columns.
        read: Row of the report -> its measured value, or None.
        text: How a value is written.
        more_is_better: Whether a claim holds from its low end up; otherwise from its high end down.
    """

    title: str
    read: Callable[[Mapping[str, Any]], float | None]
    text: str
    more_is_better: bool

    def holds(self, value: float, claimed: Sequence[float]) -> bool:
        """Tell whether a measured value is at least as good as claimed."""
        return value >= min(claimed) if self.more_is_better else value <= max(claimed)


QUANTITIES: dict[str, Quantity] = dict(
    speed=Quantity('speed', lambda row: (row['speed'] or {}).get('median'), '{:.2f}x', True),
    memory_gib=Quantity('GPU memory', lambda row: row['gpu_gib'], '{:.1f} GiB', False),
    memory_ratio=Quantity('memory, relative', lambda row: row['memory_ratio'], '{:.2f}x', False),
    host_gib=Quantity('host memory', lambda row: row['host_gib'], '{:.1f} GiB', False),
    hours=Quantity('whole schedule', lambda row: (row['hours'] or {}).get('total'), '{:.1f} h', False),
    schedule_speed=Quantity('schedule, relative', lambda row: row['schedule_speed'], '{:.2f}x', True),
    metric_loss=Quantity('metric lost', lambda row: row['metric_loss'], '{:.2%}', False),
    utilization=Quantity('not waiting for data', lambda row: row['busy'], '{:.0%}', True),
)
"""Name in a table's ``claimed`` -> quantity; all relative ones count from the first row."""


def check_claims(claimed: Mapping[str, Sequence[float]], where: str) -> None:
    """Refuse quantities that nothing measures and ranges that are none.

    Args:
        claimed: Quantity -> its lowest and highest claimed value.
        where: For the message.

    Raises:
        UserError: If a name or a range is wrong.
    """
    for name, values in claimed.items():
        if name not in QUANTITIES:
            near = nearest(name, QUANTITIES)
            hint = f'did you mean {near[0]}?' if near else f'known: {", ".join(QUANTITIES)}.'
            raise UserError(f'{where}: claimed.{name} is not measured; {hint}')
        if len(values) != 2 or not all(isinstance(value, int | float) for value in values) or values[0] > values[1]:
            raise UserError(f'{where}: claimed.{name} must be (lowest, highest), got {values!r}.')


def format_range(quantity: Quantity, claimed: Sequence[float]) -> str:
    """Write a claimed range: one value where both ends are the same."""
    low, high = (quantity.text.format(value) for value in claimed)
    return low if low == high else f'{low} - {high}'
