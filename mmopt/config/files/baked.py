"""Where a variable of a config file went: which values of the config are made of it."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmopt.config.files.read import read_file
from mmopt.config.files.run import Edits

__all__ = ['places_of']


def places_of(path: str | Path, edits: Edits) -> list[tuple[str, Any]]:
    """Read a file once more with other values of some variables, and compare.

    Args:
        path: A config file that can be read.
        edits: Variable -> what its value becomes wherever a file of the chain assigns it.

    Returns:
        Dotted place and the value there after the edit, for every value that differs, the variables themselves left
        out; a list counts as one value where its length differs or it holds no dicts.
    """
    before, after = read_file(path), read_file(path, edits)
    return [
        place
        for name in {**before, **after}
        if name not in edits
        for place in _differences(before.get(name), after.get(name), name)
    ]


def _differences(before: Any, after: Any, place: str) -> Iterator[tuple[str, Any]]:
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in {**before, **after}:
            yield from _differences(before.get(key), after.get(key), f'{place}.{key}')
    elif _has_parts(before) and isinstance(after, list | tuple) and len(before) == len(after):
        for index, (old, new) in enumerate(zip(before, after, strict=True)):
            yield from _differences(old, new, f'{place}.{index}')
    elif repr(before) != repr(after):  # an array has no single truth value of ==
        yield place, after


def _has_parts(value: Any) -> bool:
    """Tell whether a list holds dicts or lists; numbers, such as a mean, are one value together."""
    return isinstance(value, list | tuple) and any(isinstance(item, Mapping | list | tuple) for item in value)
