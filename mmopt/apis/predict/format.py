"""What a format of predictions is, and the files that several have."""

import csv
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

__all__ = ['JSON', 'Format', 'Records', 'draw_result', 'write_list', 'write_picture', 'write_table']

Records = Iterable[Mapping[str, Any]]


@dataclass(frozen=True)
class Format:
    """One format.

    Attributes:
        path: Where it goes in the output folder; ``{name}`` stands for the name of a picture.
        write: Called with (result, file): of one picture.
        gather: Called with (records, classes, file): of all pictures.
        default: Whether it is written if nobody says what to write.
        needs: Attribute of the model that is set for it; the model must have it.
    """

    path: str
    write: Callable[[Any, Path], None] | None = None
    gather: Callable[[Records, Sequence[str], Path], None] | None = None
    default: bool = True
    needs: str = ''


def write_picture(path: Path, picture: np.ndarray) -> None:
    # Encoded here and written by Python: OpenCV opens no path with letters beyond the system's code page.
    bgr = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode('.png', bgr)
    path.write_bytes(encoded.tobytes())


def write_list(path: Path, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write a JSON list entry by entry: it never is in memory as a whole."""
    with path.open('w', encoding='utf-8') as file:
        file.write('[')
        for number, entry in enumerate(entries):
            file.write((',\n' if number else '\n') + json.dumps(entry, ensure_ascii=False))
        file.write('\n]\n')


def write_table(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    with path.open('w', encoding='utf-8', newline='') as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)


def _gather_json(records: Records, classes: Sequence[str], path: Path) -> None:
    del classes  # they are in predictions.json
    write_list(path, (dict(file=record['file'], **record['result']) for record in records))


def draw_result(result: Any, path: Path) -> None:
    write_picture(path, result.draw())


JSON = Format('results.json', gather=_gather_json)
"""The results of all sources."""
