"""Names that the layer does not know: importable, so that a package loads, and refused where they are used.

A package imports far more than a training needs. So a name of mmcv 1.x that nothing stands for is given as a class that
can be imported and derived from; the first call, attribute or instance says which name it is, which file asked for it
and what to do. Where the author guarded the import with ``try`` it fails as it did without the name.
"""

import dis
from types import CodeType, FrameType
from typing import Any

from mmopt.utils.errors import UserError

__all__ = ['Asker', 'UnknownNameError', 'asker', 'make_unknown', 'unknown_names']

_GIVES = frozenset({'IMPORT_FROM', 'LOAD_ATTR', 'LOAD_METHOD'})
unknown_names: dict[str, str] = {}
"""Names that were asked for and are not known -> the file and line that asked first."""


class UnknownNameError(UserError, AttributeError):
    """Code written for mmcv 1.x uses a name that mmopt does not have."""


class Asker:
    """Who asks for a name.

    Args:
        frame: The frame that runs the import or the attribute access.
    """

    def __init__(self, frame: FrameType) -> None:
        self._code = frame.f_code
        self._offset = frame.f_lasti
        self.place = f'{frame.f_code.co_filename}:{frame.f_lineno}'

    @property
    def may_get_unknown(self) -> bool:
        """Whether a placeholder serves it: a plain import or attribute, neither ``hasattr`` nor guarded by ``try``."""
        code = self._code.co_code
        operation = dis.opname[code[self._offset]] if 0 <= self._offset < len(code) else ''
        return operation in _GIVES and not _is_guarded(self._code, self._offset)


def asker() -> Asker | None:
    """Return who asks for what the caller is looking up; None from inside the import system."""
    import sys

    frame: FrameType | None = sys._getframe(2)
    if frame is None or frame.f_code.co_filename.startswith('<frozen importlib'):
        return None
    return Asker(frame)


def _is_guarded(code: CodeType, offset: int) -> bool:
    """Read the exception table (PEP 626's successor, Objects/exception_handling_notes) for the instruction."""
    table = iter(code.co_exceptiontable)

    def number() -> int:
        byte = next(table)
        value = byte & 63
        while byte & 64:
            byte = next(table)
            value = (value << 6) | (byte & 63)
        return value

    while True:
        try:
            start = number() * 2
        except StopIteration:
            return False
        length = number() * 2
        number()  # where the handler is
        number()  # its stack depth
        if start <= offset < start + length:
            return True


def _refuse(name: str, place: str) -> UnknownNameError:
    return UnknownNameError(
        f'{name} of mmcv 1.x is not available: asked for by {place}. mmopt stands in for the names that trainings use; '
        'if yours needs this one, report the name and the repository (docs/migrating_from_mmcv1.md says how), or '
        'write what it did into your code.'
    )


class _Unknown(type):
    """The type of placeholders: deriving works, every other use says what is missing."""

    _mmcv1_name: str
    _mmcv1_place: str

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        raise _refuse(cls._mmcv1_name, cls._mmcv1_place)

    def __getattr__(cls, name: str) -> Any:
        if name.startswith('__'):
            raise AttributeError(name)
        raise _refuse(f'{cls._mmcv1_name}.{name}', cls._mmcv1_place)


def make_unknown(name: str, place: str) -> type:
    """Return a placeholder.

    Args:
        name: Dotted name, as of mmcv 1.x.
        place: Who asked: file and line.

    Returns:
        A class that refuses everything but being named and derived from.
    """
    unknown_names.setdefault(name, place)
    return _Unknown(name.rpartition('.')[2], (), dict(_mmcv1_name=name, _mmcv1_place=place, __module__='mmcv'))
