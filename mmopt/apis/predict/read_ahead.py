"""Reading while the model predicts: pictures in several threads, the frames of films in one, in their order."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from mmopt.apis.predict.items import Item
from mmopt.datasets.common.predict import Frame, load_sample
from mmopt.utils.host import usable_cores

__all__ = ['Loaded', 'read_ahead']

_MAX_READERS = 4


@dataclass(frozen=True, eq=False)
class Loaded:
    """A picture, ready for the model.

    Attributes:
        sample: What the pipeline packed.
        picture: The picture as it was read; None if nobody keeps it.
    """

    sample: dict[str, Any]
    picture: np.ndarray | None


def read_ahead(
    batches: Iterable[Sequence[Item]], dataset: Any, *, keep_pictures: bool = False
) -> Iterator[list[tuple[Item, 'Future[Loaded]']]]:
    """Read and prepare pictures, one batch ahead of the model; decoders let go of the interpreter.

    Args:
        batches: The pictures.
        dataset: See :func:`~mmopt.datasets.common.predict.load_sample`.
        keep_pictures: Keep pictures beside their samples: those who draw would read them again. Frames of films are
            always kept.

    Yields:
        list: The items of a batch and what is being read of them.
    """
    waiting: deque[list[tuple[Item, Future[Loaded]]]] = deque()
    with (
        ThreadPoolExecutor(min(_MAX_READERS, usable_cores()), 'mmopt-read') as pool,
        ThreadPoolExecutor(1, 'mmopt-film') as film,
    ):

        def submit(item: Item) -> 'Future[Loaded]':
            if isinstance(item.source, Frame):
                # One thread decodes, in order; scaling and packing take as long, and go on beside it.
                decoded = film.submit(item.source.load)
                return pool.submit(_load_frame, dataset, item.source.path, decoded)
            return pool.submit(_load, dataset, item.source, keep_pictures)

        try:
            for batch in batches:
                waiting.append([(item, submit(item)) for item in batch])
                if len(waiting) > 1:
                    yield waiting.popleft()
            while waiting:
                yield waiting.popleft()
        finally:
            film.shutdown(wait=False, cancel_futures=True)
            pool.shutdown(cancel_futures=True)


def _load(dataset: Any, source: Any, keep_picture: bool) -> Loaded:
    sample, picture = load_sample(dataset, source)
    return Loaded(sample, picture if keep_picture else None)


def _load_frame(dataset: Any, path: str, decoded: 'Future[np.ndarray]') -> Loaded:
    image_HW3 = decoded.result()
    sample, _ = load_sample(dataset, Frame(path, lambda: image_HW3))
    return Loaded(sample, image_HW3)
