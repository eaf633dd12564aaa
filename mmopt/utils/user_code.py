"""Whose code an error comes from: which file and line of the user's to name, instead of a traceback.

A frame is *ours* (mmopt and its tools), a *library's* (an installed package or Python's own) or else the *user's*. The
innermost frame that is no library's decides: a wrong call of NumPy is the caller's to mend. It counts as the user's
only where somebody else called it: a script's own ``main`` is not what mmopt was given to run.
"""

import re
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path

__all__ = ['Place', 'describe', 'place_in_user_code', 'raised_in_worker']

_PACKAGE = Path(__file__).resolve().parents[1]
_OURS = (str(_PACKAGE), str(_PACKAGE.parent / 'tools'), str(_PACKAGE.parent / 'benchmarks'))
_STDLIB = tuple({sysconfig.get_path('stdlib'), sysconfig.get_path('platstdlib')})
_OUTERMOST = str(_PACKAGE / 'apis' / 'cli' / 'errors.py')  # calls the main function of any script
_INSTALLED = {'site-packages', 'dist-packages'}
_WORKER_FRAME = re.compile(
    r'^  File "(?P<path>.+?)", line (?P<line>\d+), in (?P<function>.+)$(?:\n    (?P<source>.+))?', re.M
)
_WORKER_ERROR = re.compile(r'^(?P<kind>(?:\w+\.)*\w+)(?:: (?P<message>.*))?\Z', re.M | re.S)


@dataclass(frozen=True)
class Place:
    """A line of code.

    Attributes:
        function: Its function, with its class where that is known.
        source: The line itself; empty where the file cannot be read.
    """

    path: str
    line: int
    function: str
    source: str = ''

    @property
    def owner(self) -> str:
        """``'ours'``, ``'library'`` or ``'user'``."""
        if self.path.startswith('<'):
            return 'library'
        path = Path(self.path)
        if any(path.is_relative_to(folder) for folder in _OURS):
            return 'ours'
        is_installed = _INSTALLED & set(path.parts) or any(path.is_relative_to(folder) for folder in _STDLIB)
        return 'library' if is_installed else 'user'

    def __str__(self) -> str:
        return (
            f'{self.path}:{self.line}' if self.function == '<module>' else f'{self.path}:{self.line}, {self.function}'
        )


def raised_in_worker(error: BaseException) -> tuple[str, str] | None:
    """Take apart what torch makes of an error in a data worker: one whose message is the worker's traceback.

    Args:
        error: As the loader raised it.

    Returns:
        Name of the error's class and its own message; None if it comes from no worker.
    """
    text = _worker_text(error)
    if text is None:
        return None
    last = list(_WORKER_FRAME.finditer(text))[-1:]
    # Python 3.13 marks the place inside the line with carets below it.
    rest = re.sub(r'\A\n[ ~^]+$', '', text[last[0].end() :] if last else text, flags=re.M)
    match = _WORKER_ERROR.search(rest.strip())
    return None if match is None else (match['kind'].rsplit('.', 1)[-1], (match['message'] or '').strip())


def _worker_text(error: BaseException) -> str | None:
    text = str(error.args[0]) if error.args else ''
    return text if text.startswith('Caught ') and 'Original Traceback' in text else None


def _places(error: BaseException) -> list[Place]:
    text = _worker_text(error)
    if text is not None:
        return [
            Place(match['path'], int(match['line']), match['function'], match['source'] or '')
            for match in _WORKER_FRAME.finditer(text)
        ]
    places = []
    for frame, line in traceback.walk_tb(error.__traceback__):
        code = frame.f_code
        summary = traceback.FrameSummary(code.co_filename, line, code.co_name)
        places.append(Place(code.co_filename, line, code.co_qualname.replace('.<locals>', ''), summary.line or ''))
    return places


def place_in_user_code(error: BaseException) -> Place | None:
    """Find the line of the user's that an error comes from.

    Args:
        error: With its traceback; or a data loader's, with the traceback of its worker.

    Returns:
        The innermost line that is no library's; None if that is ours, or there is none.
    """
    places = [place for place in _places(error) if place.path != _OUTERMOST]
    owners = [place.owner for place in places]
    while owners and owners[-1] == 'library':
        owners.pop()
    is_users = bool(owners) and owners[-1] == 'user' and set(owners) != {'user'}
    return places[len(owners) - 1] if is_users else None


def describe(error: BaseException) -> str:
    """Say in one line what an error is: its class, its message or else the line that raised it."""
    kind, message = raised_in_worker(error) or (type(error).__name__, str(error))
    message = ' '.join(message.split())
    if not message and (places := _places(error)):
        message = f'in `{places[-1].source.strip()}`' if places[-1].source else ''
    return f'{kind}: {message}' if message else kind
