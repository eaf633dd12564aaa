"""Files that are there whole or not at all: whoever is killed while he writes leaves none that looks finished."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ['whole_file', 'write_whole']


@contextmanager
def whole_file(path: str | Path) -> Iterator[Path]:
    """Give a temporary name beside a file; what is written there becomes the file when all went well.

    Args:
        path: The file; its folder is made.

    Yields:
        Path: The temporary name, with the file's ending. It begins with a dot, so that no reader lists it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f'.{path.name}')
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_whole(path: str | Path, text: str) -> None:
    """Write a text in UTF-8, whole or not at all."""
    with whole_file(path) as unfinished:
        unfinished.write_text(text, encoding='utf-8')
