"""What the files of a prediction are called: free names, also on systems that do not tell letters by their case."""

import os

__all__ = ['Names']


class Names:
    """Names that are taken; a film's frames lie in a folder of its name, which no picture may be called or lie in."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._parents: set[str] = set()
        self._films: set[str] = set()

    def take(self, name: str, *, is_folder: bool) -> str:
        """Return a free name like the given one, which has an ending, without it."""
        stem, ending = os.path.splitext(name)
        if any(parent in self._films for parent in _parents(stem.casefold())):
            stem = stem.replace('/', '_')  # the folder of a film's frames is no folder of pictures
        choice, number = stem, 1
        while not self._is_free(choice.casefold(), is_folder):
            choice = f'{stem}_{ending[1:]}' if number == 1 and ending else f'{stem}_{number}'
            number += 1
        key = choice.casefold()
        self._taken.add(key)
        self._parents.update(_parents(key))
        if is_folder:
            self._films.add(key)
        return choice

    def _is_free(self, key: str, is_folder: bool) -> bool:
        return not (key in self._taken or (is_folder and key in self._parents))


def _parents(key: str) -> list[str]:
    parts = key.split('/')
    return ['/'.join(parts[:number]) for number in range(1, len(parts))]
