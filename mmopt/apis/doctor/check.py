"""One line of the doctor's: what was looked at, what was found, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass

from mmopt.utils.terminal import paint

__all__ = ['Check', 'format_checks']

_COLORS = dict(ok='green', advice='yellow', fault='red')


@dataclass(frozen=True)
class Check:
    """One finding.

    Attributes:
        name: What was looked at.
        remedy: What to do; empty if all is well.
        is_fault: Whether a training would fail or compute wrong numbers, not merely be slow.
    """

    name: str
    found: str
    remedy: str = ''
    is_fault: bool = False

    @property
    def verdict(self) -> str:
        """``'ok'``, ``'advice'`` or ``'fault'``."""
        if not self.remedy:
            return 'ok'
        return 'fault' if self.is_fault else 'advice'


def format_checks(checks: Sequence[Check]) -> str:
    """Set findings one per line, the remedy below its finding, and count them."""
    width = max(len(check.name) for check in checks)
    lines = []
    for check in checks:
        mark = paint(f'{check.verdict:6}', _COLORS[check.verdict])
        lines.append(f'  {mark}  {check.name:{width}}  {check.found}')
        if check.remedy:
            lines.append(f'  {"":6}  {"":{width}}  -> {check.remedy}')
    counts = {verdict: sum(check.verdict == verdict for check in checks) for verdict in _COLORS}
    lines.append(f'{counts["ok"]} ok, {counts["advice"]} could be better, {counts["fault"]} must be mended.')
    return '\n'.join(lines)
