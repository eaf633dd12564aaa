"""What is done, a line per picture: an interrupted prediction goes on behind it.

``records.jsonl`` gets a line when all files of a picture are written. A picture is done if its file has not changed
since, its name is the same, and all of its files that are asked for are listed in the line and there.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from mmopt.apis.predict.sources import Item
from mmopt.datasets.common.predict import Result

__all__ = ['Records']


class Records:
    """The records of an output folder, for adding to them.

    Args:
        folder: The output folder; its ``records.jsonl`` is read if it is there.
        templates: Files that every picture is to have, from the folder; ``{name}`` stands for its name.
    """

    def __init__(self, folder: Path, templates: Sequence[str]) -> None:
        self.folder = folder
        self.path = folder / 'records.jsonl'
        self.templates = list(templates)
        self._places: dict[str, tuple[int, dict[str, Any]]] = {}
        if self.path.is_file():
            self._list()
        self._file = self.path.open('ab')

    def _list(self) -> None:
        """Note where each picture's last line begins; drop a line that was cut off, and what is behind it."""
        place = 0
        with self.path.open('rb+') as file:
            for line in file:
                try:
                    record = json.loads(line)
                    identity = {key: record[key] for key in ('name', 'bytes', 'changed_ns', 'files')}
                    self._places[record['file']] = place, identity
                except (ValueError, KeyError, TypeError):
                    file.truncate(place)
                    return
                if not line.endswith(b'\n'):
                    file.truncate(place)
                    del self._places[record['file']]
                    return
                place += len(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def has(self, item: Item) -> bool:
        """Tell whether a picture is done."""
        if item.file not in self._places:
            return False
        known = self._places[item.file][1]
        return (
            known['name'] == item.name
            and (known['bytes'], known['changed_ns']) == _identity(item)
            and set(self.templates) <= set(known['files'])
            and all((self.folder / template.format(name=item.name)).is_file() for template in self.templates)
        )

    def add(self, item: Item, result: Result) -> None:
        """Note a picture whose files are written."""
        num_bytes, changed_ns = _identity(item)
        entry = dict(name=item.name, bytes=num_bytes, changed_ns=changed_ns, files=self.templates)
        line = json.dumps(dict(file=item.file, **entry, result=result.to_json()), ensure_ascii=False)
        self._places[item.file] = self._file.tell(), entry
        self._file.write(line.encode() + b'\n')
        self._file.flush()

    def read(self, items: Sequence[Item]) -> Iterator[Mapping[str, Any]]:
        """Give the records of pictures, one at a time; what is not done is left out.

        Args:
            items: All pictures that were asked for; the records are in their order, and have their ``number`` from 1.
        """
        with self.path.open('rb') as file:
            for number, item in enumerate(items, start=1):
                if self.has(item):
                    file.seek(self._places[item.file][0])
                    yield dict(json.loads(file.readline()), number=number)


def _identity(item: Item) -> tuple[int, int]:
    """Return size and time of its files: others of their names are another picture."""
    try:
        facts = [os.stat(file) for file in getattr(item.source, 'files', (item.file,))]
    except OSError:
        return -1, -1
    return sum(fact.st_size for fact in facts), max(fact.st_mtime_ns for fact in facts)
