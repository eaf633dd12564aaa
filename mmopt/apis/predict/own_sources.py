"""Sources that a data set class knows itself: recordings, tracks; see :mod:`mmopt.datasets.common.cut_source`."""

import glob
import os
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Any

from mmopt.apis.config import missing_file
from mmopt.apis.predict.items import Item, ItemList
from mmopt.apis.predict.names import Names
from mmopt.apis.predict.sources import LISTS, read_list
from mmopt.datasets.common.cut_source import CutSource, FoundSource
from mmopt.datasets.common.predict import Result, predict_sample
from mmopt.utils.errors import UserError
from mmopt.utils.host import usable_cores

__all__ = ['configure', 'expand_sources', 'find_items', 'predict_cut']

_MAX_READERS = 4


def configure(
    dataset: Any, options: Mapping[str, Any], trained: Mapping[str, Any], metrics: Sequence[Mapping[str, Any]]
) -> None:
    """Hand a data set what the user says of sources.

    Args:
        dataset: The data set.
        options: By name, as texts or values; None is not given.
        trained: ``metainfo`` of the data that the model was trained on.
        metrics: Configs of the evaluation's metrics.

    Raises:
        UserError: If the data set does not take an option, or not its value.
    """
    given = {name: value for name, value in options.items() if value is not None}
    known = getattr(dataset, 'predict_options', {})
    if unknown := [name for name in given if name not in known]:
        takes = ', '.join(map(_flag, known)) or 'no such option'
        raise UserError(f'{_flag(unknown[0])}: sources of {type(dataset).__name__} take {takes}.')
    if hasattr(dataset, 'prepare_predict'):
        dataset.prepare_predict(given, trained, metrics)


def _flag(name: str) -> str:
    return f'--{name.replace("_", "-")}'


def find_items(dataset: Any, sources: Sequence[Any], *, without: str | Path | None = None) -> ItemList:
    """List what a data set finds in the sources that a user names.

    Args:
        dataset: Has ``find_sources``.
        sources: Files, folders, patterns, text lists, or whatever else the data set takes; none at all is asked of the
            data set, too.
        without: A folder whose content is no source.

    Returns:
        The sources; one that is named twice is in it once.

    Raises:
        UserError: If one is not there, or nothing is in it.
    """
    excluded = None if without is None else Path(without).resolve()
    found: list[FoundSource] = []
    seen: set[tuple[str, ...]] = set()
    for named in sources or [None]:
        listed = [one for name in _expand(named) for one in dataset.find_sources(name)]
        kept = [one for one in listed if excluded is None or not _all_inside(one, excluded)]
        if listed and not kept:
            raise UserError(f'{named}: all that it holds lies in the output folder {without}; name another one.')
        for one in kept:
            key = tuple(map(os.path.realpath, one.files))
            if key not in seen:
                seen.add(key)
                found.append(one)
    names = Names()
    items = [Item(one, names.take(one.name, is_folder=False), None, place) for place, one in enumerate(found)]
    return ItemList([items])


def expand_sources(dataset: Any, sources: Sequence[Any]) -> list[Any]:
    """Replace sources that stand for pictures which only the data set knows, such as a folder with tables of them.

    Args:
        dataset: Its ``find_sources`` gives nothing for pictures and folders of them.
        sources: What the user named.

    Returns:
        Sources that everybody knows.
    """
    return [one for named in sources for one in ([found.source for found in dataset.find_sources(named)] or [named])]


def _expand(named: Any) -> Iterator[Any]:
    """Give what a pattern or a text list names; everything else as it is."""
    if not isinstance(named, str | Path):
        yield named
        return
    path = Path(named)
    if path.is_file() and path.suffix.lower() in LISTS:
        lines = list(read_list(path))
        if not lines:
            raise UserError(f'{path}: the list names nothing; it holds a path per line.')
        yield from lines
    elif path.exists():
        yield str(named)
    elif glob.has_magic(str(named)):
        matches = sorted(glob.glob(str(named), recursive=True))
        if not matches:
            raise UserError(f'{named}: nothing has such a name; put the pattern into quotes, so that it arrives whole.')
        yield from matches
    else:
        raise missing_file(path, 'source')


def _all_inside(one: FoundSource, folder: Path) -> bool:
    return all(Path(file).resolve().is_relative_to(folder) for file in one.files)


def predict_cut(
    dataset: Any,
    source: FoundSource,
    batch_size: Callable[[], int],
    predict: Callable[[list[Any]], Sequence[Any]],
    tell: Callable[[float], object],
) -> Result:
    """Predict one source that is cut into samples; the next batch is read meanwhile.

    Args:
        dataset: Has ``open_source``.
        source: What its ``find_sources`` found.
        batch_size: Returns how many samples the next batch has.
        predict: From packed samples to predicted ones.
        tell: Called with the share of the source that is predicted.

    Returns:
        The result.

    Raises:
        DataError: If the source cannot be read.
    """
    opened: CutSource = dataset.open_source(source.source)
    samples: list[Any] = []
    for futures in _read_ahead(dataset, opened.parts, batch_size):
        samples += predict([future.result() for future in futures])
        tell(len(samples) / len(opened.parts))
    return opened.join(samples)


def _read_ahead(dataset: Any, parts: Sequence[Any], batch_size: Callable[[], int]) -> Iterator[list[Future]]:
    num_readers = 1 if getattr(dataset, 'reads_in_order', False) else min(_MAX_READERS, usable_cores())
    waiting: deque[list[Future]] = deque()
    with ThreadPoolExecutor(num_readers) as pool:
        try:
            rest = iter(parts)
            while batch := list(islice(rest, batch_size())):
                waiting.append([pool.submit(predict_sample, dataset, part) for part in batch])
                if len(waiting) > 1:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            pool.shutdown(cancel_futures=True)
