"""What a switch of the `optimize` section did to a model or an optimizer, in one line."""

from dataclasses import dataclass

__all__ = ['Effect']


@dataclass(frozen=True)
class Effect:
    """Report of one switch.

    Attributes:
        text: One line for the log, without the switch's name: ``'24 convolutions'``.
        is_effective: False where the switch changed nothing, though the config asks for it: the run warns. The text
            then says why, with what was asked for and what there would have been.
    """

    text: str
    is_effective: bool = True
