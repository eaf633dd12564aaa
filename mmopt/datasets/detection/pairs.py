"""Pairs of pictures that belong to no json: the event frame of the same moment, for every RGB picture."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmopt.datasets.detection.fred import FOLDERS, PAIR_S, frame_times, nearest
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

__all__ = ['Pair', 'pair_up']

_RGB, _EVENTS = FOLDERS['rgb'], FOLDERS['event']
_AS_RECORDED = 'RGB'
_PICTURES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp', '.tif', '.tiff')


@dataclass(frozen=True)
class Pair:
    """Two views of the same moment.

    Attributes:
        path: The RGB picture.
        second: The event frame; None if none was found.
        reason: Why not.
    """

    path: str
    second: str | None
    reason: str = ''

    @property
    def files(self) -> tuple[str, ...]:
        """What it is made of."""
        return (self.path,) if self.second is None else (self.path, self.second)

    def to_load(self) -> dict[str, str]:
        """Name what ``LoadImagePair`` loads.

        Returns:
            ``img_path`` and ``pair_path``.

        Raises:
            DataError: If there is no event frame.
        """
        if self.second is None:
            raise DataError(f'{self.path}: {self.reason}')
        return dict(img_path=self.path, pair_path=self.second)


def pair_up(paths: Sequence[str], events: str | Path | None = None) -> list[Pair | None]:
    """Find the event frame of each picture.

    By the times in the names where both folders have FRED's, at most half a frame apart; else by equal names without
    their endings, else by equal numbers at the end of the names.

    Args:
        paths: Pictures; event frames may be among them.
        events: The folder of the event frames; None: ``../Event/Frames`` beside ``PADDED_RGB``, as FRED has it.

    Returns:
        A pair for each picture; None for one that is no RGB picture: an event frame, or one of ``RGB`` where
        ``PADDED_RGB`` is there, whose pixels agree with the event camera's.

    Raises:
        UserError: If a folder has no event frames.
    """
    if events is not None and not Path(events).is_dir():
        raise DataNotFoundError(f'--events {events}: there is no such folder.')
    partners: dict[Path, dict[str, Pair]] = {}
    pairs: list[Pair | None] = []
    for path in map(Path, paths):
        folder = path.parent
        if _is_second(folder, events):
            pairs.append(None)
            continue
        if folder not in partners:
            partners[folder] = _match(folder, _events_of(folder, events))
        pairs.append(partners[folder].get(path.name) or Pair(str(path), None, 'there is no such file.'))
    return pairs


def _is_second(folder: Path, events: str | Path | None) -> bool:
    if events is not None:
        return folder.resolve().is_relative_to(Path(events).resolve())
    if folder.name == _AS_RECORDED and (folder.parent / _RGB).is_dir():
        return True
    return folder.parts[-2:] == Path(_EVENTS).parts


def _events_of(folder: Path, events: str | Path | None) -> Path:
    found = folder.parent / _EVENTS if events is None else Path(events)
    if not found.is_dir():
        raise UserError(
            f'{folder}: the model takes pairs of pictures, and there are no event frames in {found}; name their folder '
            'with --events.'
        )
    return found


def _match(folder: Path, events: Path) -> dict[str, Pair]:
    names, others = _names(folder), _names(events)
    times, other_times = frame_times(names, 'rgb'), frame_times(others, 'event')
    if len(times) == len(names) and other_times:
        seconds = [time_s for time_s, _ in other_times]
        matched = {}
        for time_s, name in times:
            place = nearest(seconds, time_s)
            near = abs(seconds[place] - time_s) <= PAIR_S
            matched[name] = other_times[place][1] if near else None
        reason = f'no event frame of {events} is within half a frame ({PAIR_S:.3f} s).'
    else:
        stems = {Path(other).stem: other for other in others}
        numbers = {_number(other): other for other in others if _number(other) >= 0}
        matched = {name: stems.get(Path(name).stem) or numbers.get(_number(name)) for name in names}
        reason = f'no event frame of {events} has its name or its number.'
    return {
        name: Pair(str(folder / name), None if other is None else str(events / other), reason)
        for name, other in matched.items()
    }


def _names(folder: Path) -> list[str]:
    if not folder.is_dir():
        return []
    return sorted(
        file.name for file in folder.iterdir() if file.suffix.lower() in _PICTURES and not file.name.startswith('.')
    )


def _number(name: str) -> int:
    match = re.search(r'(\d+)$', Path(name).stem)
    return -1 if match is None else int(match[1])
