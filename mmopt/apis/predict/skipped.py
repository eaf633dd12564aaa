"""What could not be read, and why: a line per picture, and one per film."""

from typing import Any

from mmopt.apis.predict.items import Film, Item

__all__ = ['Skipped']


class Skipped:
    """Pictures that were skipped."""

    def __init__(self) -> None:
        self._reasons: dict[str, str] = {}
        self._frames: dict[str, list[int]] = {}
        self._num_items = 0

    @property
    def num_items(self) -> int:
        """Pictures and frames in all."""
        return self._num_items

    def add(self, item: Item, error: Exception) -> bool:
        """Note a picture.

        Returns:
            Whether people are to be told: of a film once.
        """
        self._num_items += 1
        is_new = item.file not in self._reasons
        self._reasons.setdefault(item.file, ' '.join(str(error).split()))
        if item.film is not None and not item.film.has_files:
            self._frames.setdefault(item.file, []).append(item.frame or 0)
        return is_new

    def add_missing(self, film: Film, num_frames: int) -> None:
        """Note that a film was cut off."""
        reason = f'{film.path}: the file is cut off: {num_frames} of the frames that its head promises are not there.'
        known = self._reasons.get(film.path)
        self._reasons[film.path] = reason if known is None else f'{reason} {known}'

    def listed(self) -> list[dict[str, Any]]:
        """Return file, reason and, of films, the frames as ``first-last`` of each gap."""
        return [
            dict(file=file, reason=reason) | (dict(frames=_ranges(self._frames[file])) if file in self._frames else {})
            for file, reason in self._reasons.items()
        ]


def _ranges(frames: list[int]) -> list[str]:
    ranges: list[list[int]] = []
    for frame in sorted(frames):
        if ranges and frame == ranges[-1][1] + 1:
            ranges[-1][1] = frame
        else:
            ranges.append([frame, frame])
    return [f'{first}-{last}' if first < last else str(first) for first, last in ranges]
