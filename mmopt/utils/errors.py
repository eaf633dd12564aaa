"""Errors and warnings that are the user's to mend: every tool prints them as they are, without a traceback."""

__all__ = ['ConfigWarning', 'DataError', 'DataNotFoundError', 'UserError']


class UserError(Exception):
    """A wrong path, key, file or setting; the message names the thing, the rule, the value and the remedy.

    Tools print ``str(error)`` and leave with status 2. A subclass that also derives from a built-in error
    (``DataNotFoundError`` is a ``FileNotFoundError``) still is what a caller of the library expects to catch.

    Args:
        message: The text for the user. A data loader re-raises a worker's error with the whole traceback as its
            message; that is cut down to the text the worker raised, so the message is the same for any worker count.
    """

    def __init__(self, message: str) -> None:
        super().__init__(_strip_worker_traceback(message, f'{type(self).__module__}.{type(self).__qualname__}: '))

    def __str__(self) -> str:
        # KeyError and OSError, which subclasses may derive from, would quote or renumber the text.
        return str(self.args[0])


class ConfigWarning(UserWarning):
    """Something that a config or an option says has no effect, though it may be meant."""


class DataNotFoundError(UserError, FileNotFoundError):
    """A data folder or file is missing; the message says how to make it."""


class DataError(UserError, ValueError):
    """A data file is there but broken or inconsistent; the message names the file and the reason."""


def _strip_worker_traceback(message: str, marker: str) -> str:
    if message.startswith('Caught ') and marker in message:
        return message.rsplit(marker, 1)[1].strip()
    return message
