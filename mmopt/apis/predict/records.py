"""What is done, a line per picture: an interrupted prediction goes on behind it.

``records.jsonl`` gets a line when all files of a picture are written. A picture is done if its file has not changed
since, its name is the same, and all of its files that are asked for are listed in the line and there. Of a film of some
hundred thousand frames a few bytes per frame are kept in memory.
"""

import json
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from mmopt.apis.predict.items import Film, Item, ItemList
from mmopt.datasets.common.predict import Result

__all__ = ['Records', 'remove_predictions']


@dataclass
class _Done:
    """The lines of one file: a picture is a file of one frame.

    Attributes:
        identity: Size and time that the file had.
        name: What its files are called; of a film without the number of the frame.
        places: Where the line of a frame begins, -1 where there is none.
        files: Which files were written of a frame, an index into all combinations that occur.
    """

    identity: tuple[int, int]
    name: str
    places: array = field(default_factory=lambda: array('q'))
    files: array = field(default_factory=lambda: array('H'))

    def put(self, frame: int, place: int, files: int) -> None:
        missing = frame + 1 - len(self.places)
        if missing > 0:
            self.places.extend([-1] * missing)
            self.files.extend([0] * missing)
        self.places[frame], self.files[frame] = place, files

    def place(self, frame: int) -> int:
        return self.places[frame] if frame < len(self.places) else -1


class Records:
    """The records of an output folder, for adding to them.

    Args:
        folder: The output folder; its ``records.jsonl`` is read if it is there.
        templates: Gives the files that a picture is to have, from the folder; ``{name}`` stands for its name.
        covers: Tells whether the films that are to be written of a frame's film have it.
    """

    def __init__(
        self,
        folder: Path,
        templates: Callable[[Item], Sequence[str]],
        covers: Callable[[Item], bool] = lambda item: True,
    ) -> None:
        self.folder = folder
        self.path = folder / 'records.jsonl'
        self.templates = templates
        self.covers = covers
        self._done: dict[str, _Done] = {}
        self._made: dict[str, str] = {}
        self._combinations: list[tuple[str, ...]] = [()]
        if self.path.is_file():
            self._list()
        self._file = self.path.open('ab')

    def _list(self) -> None:
        """Note where each picture's last line begins; drop a line that was cut off, and what is behind it."""
        place = 0
        with self.path.open('rb+') as file:
            for line in file:
                try:
                    if not line.endswith(b'\n'):
                        raise ValueError('cut off')
                    self._note(json.loads(line), place)
                except (ValueError, KeyError, TypeError):
                    file.truncate(place)
                    return
                place += len(line)

    def _note(self, record: Mapping[str, Any], place: int) -> None:
        if 'film' in record:
            self._made[record['film']] = record['identity']
            return
        identity, name = (record['bytes'], record['changed_ns']), record['name']
        frame = record.get('frame') if record.get('of_film') else None
        if frame is not None:
            name = name.rpartition('/')[0]
        known = self._done.get(record['file'])
        if known is None or (known.identity, known.name) != (identity, name):
            known = self._done[record['file']] = _Done(identity, name)
        files = tuple(record['files'])
        if files not in self._combinations:
            self._combinations.append(files)
        known.put(frame or 0, place, self._combinations.index(files))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def has(self, item: Item) -> bool:
        """Tell whether a picture is done."""
        known = self._done.get(item.file)
        frame = _frame_of(item)
        if known is None or known.place(frame or 0) < 0:
            return False
        name = item.name if frame is None else item.name.rpartition('/')[0]
        if (known.identity, known.name) != (item.identity, name):
            return False
        templates = self.templates(item)
        written = self._combinations[known.files[frame or 0]]
        return (
            set(templates) <= set(written)
            and all((self.folder / template.format(name=item.name)).is_file() for template in templates)
            and (item.film is None or self.covers(item))
        )

    def add(self, item: Item, result: Result) -> None:
        """Note a picture whose files are written."""
        (num_bytes, changed_ns), frame = item.identity, _frame_of(item)
        entry: dict[str, Any] = dict(file=item.file)
        if item.film is not None:
            entry |= dict(frame=result.frame, time_s=result.time_s, of_film=frame is not None)
        entry |= dict(name=item.name, bytes=num_bytes, changed_ns=changed_ns, files=list(self.templates(item)))
        self._write(entry | dict(result=result.to_json()))

    def is_made(self, film: Film) -> bool:
        """Tell whether the film of a film's frames was finished, and the frames are the same since."""
        return self._made.get(film.name) == film.identity()

    def add_film(self, film: Film, template: str) -> None:
        """Note that the film of a film's frames is finished, which is called after the template."""
        self._write(dict(film=film.name, name=film.name, identity=film.identity(), files=[template]))

    def _write(self, record: Mapping[str, Any]) -> None:
        place = self._file.tell()
        self._file.write(json.dumps(record, ensure_ascii=False).encode() + b'\n')
        self._file.flush()
        self._note(record, place)

    def read(self, items: ItemList) -> Iterator[Mapping[str, Any]]:
        """Give the records of pictures, one at a time; what is not done is left out.

        Args:
            items: All pictures that were asked for; the records are in their order, and have their ``number`` from 1.
                Of a live film all that there is. Where there are films, single pictures have frame and time None.
        """
        if items.live is not None:
            with self.path.open('rb') as file:
                frames = (record for record in map(json.loads, file) if 'result' in record)
                yield from (dict(record, number=number) for number, record in enumerate(frames, start=1))
            return
        with self.path.open('rb') as file:
            always = dict(frame=None, time_s=None) if items.films else {}
            for number, item in enumerate(items, start=1):
                if self.has(item):
                    file.seek(self._done[item.file].place(_frame_of(item) or 0))
                    yield dict(always | json.loads(file.readline()), number=number)


def remove_predictions(folder: Path) -> None:
    """Remove what an earlier prediction wrote of its pictures, as far as its records say, and the records.

    Args:
        folder: The output folder; other files in it stay.
    """
    path = folder / 'records.jsonl'
    if path.is_file():
        with path.open('rb') as file:
            for line in file:
                try:
                    record = json.loads(line)
                    files = [template.format(name=record['name']) for template in record.get('files', ())]
                except (ValueError, KeyError, TypeError, AttributeError):
                    continue  # a line that was cut off
                for written in files:
                    (folder / written).unlink(missing_ok=True)
        path.unlink()
    (folder / 'predictions.json').unlink(missing_ok=True)


def _frame_of(item: Item) -> int | None:
    """Return the number of a frame whose file holds others as well."""
    return None if item.film is None or item.film.has_files else item.frame
