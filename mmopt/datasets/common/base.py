"""The data set base of all tasks: MMEngine's, with a private generator per sample and errors that name the sample."""

import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset

from mmopt.datasets.common.cache import CachedPrefix, Source, open_cache
from mmopt.datasets.common.pictures import to_uint8_image
from mmopt.registry import TRANSFORMS
from mmopt.structures import DataSample, Substitute
from mmopt.utils.errors import DataError
from mmopt.utils.platform import user_tag
from mmopt.utils.seeding import SampleIndex, global_generators_of, sample_rng

__all__ = ['SeededDataset']

_MAX_BAD_IN_A_ROW = 50


def _ram_folder() -> Path:
    """Return where the processes of this user tell each other of caches in memory."""
    return Path(tempfile.gettempdir(), f'mmopt-ram-{user_tag()}')


class SeededDataset(BaseDataset):
    """Hand each sample its own random generator and never silently replace a bad sample by another.

    A pipeline receives three keys besides the sample's own: ``rng``, a :class:`numpy.random.Generator` that depends
    on (seed, epoch, index) alone, from which transforms draw and from nothing else; ``epoch``; and ``fields``, an
    empty list in which loaders note the keys that the packing transform puts into the :class:`DataSample`. Transforms
    of other libraries find the global generators (Python's, NumPy's, torch's) seeded by the sample as well.

    MMEngine's data set silently draws another sample when a pipeline returns None; here that is an error, because it
    would hide bad files and break exact resuming. With ``data.on_bad_sample='skip'`` the next good sample stands for
    one whose data is broken (:class:`~mmopt.utils.errors.DataError`, ``OSError``); the training counts and lists those.

    A data set says how its samples are shown by overriding :meth:`draw`: ``tools/browse_dataset.py`` and
    ``tools/test.py --show-dir`` call it and name no task.

    Args:
        *args: Passed on to :class:`mmengine.dataset.BaseDataset`.
        pipeline: Transforms or their configs. Names are looked up in mmopt's registry first, then in mmcv's.
        allow_no_targets: Train also where :meth:`nothing_to_learn` gives a reason not to.
        **kwargs: Passed on to :class:`mmengine.dataset.BaseDataset`.
    """

    def __init__(
        self, *args, pipeline: Sequence[dict | Callable] = (), allow_no_targets: bool = False, **kwargs
    ) -> None:
        self.allow_no_targets = allow_no_targets
        # Built here: MMEngine's Compose asks the root registry, which without a default scope never sees mmopt's.
        built = [TRANSFORMS.build(transform) if isinstance(transform, dict) else transform for transform in pipeline]
        self.on_bad_sample = 'raise'
        """``'skip'``: give the next good sample, as a :class:`~mmopt.structures.Substitute`, for a bad one."""
        self._has_foreign = any(not getattr(transform, '__module__', '').startswith('mmopt.') for transform in built)
        self._cached: CachedPrefix | None = None
        super().__init__(*args, pipeline=built, **kwargs)

    def full_init(self) -> None:
        """List the samples.

        Raises:
            DataError: If there are none: an empty selection is nearly always a slip.
        """
        super().full_init()
        if not len(self):
            raise DataError(f'{type(self).__name__} has no samples: {self.explain_empty()}')

    def _serialize_data(self) -> tuple[np.ndarray, np.ndarray]:
        if not self.data_list:  # NumPy would say "need at least one array to concatenate"
            raise DataError(f'{type(self).__name__} has no samples: {self.explain_empty()}')
        return super()._serialize_data()

    def explain_empty(self) -> str:
        """Say why nothing may be selected, with a remedy; a data set with selections of its own says more."""
        given = dict(ann_file=self.ann_file, data_root=self.data_root, **self.data_prefix, indices=self._indices)
        told = ', '.join(f'{key}={value!r}' for key, value in given.items() if value not in (None, ''))
        rule = f'filter_cfg={self.filter_cfg} keeps none of them' if self.filter_cfg else 'load_data_list gave none'
        return f'{rule} ({told or "no file or folder is named"}); check these.'

    @property
    def draws_privately(self) -> bool:
        """Whether all random numbers of a sample come from its own generator; for a class of the user's, who knows."""
        return type(self).__module__.startswith('mmopt.')

    def prepare_cache(self, mode: str, folder: str | Path | None = None, num_workers: int | None = None) -> None:
        """Store what the first transforms make of each sample, as far as it is the same in every epoch; or find it.

        To be called before workers start: they share what is stored. Samples stay what they are without it.

        Args:
            mode: ``'disk'`` or ``'ram'``.
            folder: Where caches on disk lie; by default ``sample_cache`` in the data root.
            num_workers: Processes that build; by default one per core.
        """
        self.full_init()
        folder = Path(folder) if folder else Path(self.data_root or 'data', 'sample_cache')
        source = Source(type(self).__name__, self.get_data_info, len(self), self.pipeline.transforms)
        self._cached = open_cache(source, mode, folder, _ram_folder(), num_workers)

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample, or what is left of it where the first transforms' result is stored."""
        results = self.get_data_info(idx)
        results.update(fields=[], sample_idx=int(idx))
        transforms = self.pipeline.transforms
        if self._cached is not None:
            change = self._cached.store[int(idx)]
            for key in change.pop(''):
                del results[key]
            results.update(change)
            transforms = transforms[self._cached.length :]
        results.update(rng=sample_rng(idx), epoch=getattr(idx, 'epoch', 0))
        with global_generators_of(idx) if self._has_foreign else nullcontext():
            for transform in transforms:
                results = transform(results)
                if results is None:
                    return None
        return results

    def __getitem__(self, idx: int) -> Any:
        if not self._fully_initialized:
            self.full_init()
        return self._prepare(idx) if self.on_bad_sample == 'raise' else self._prepare_or_substitute(idx)

    def _prepare_or_substitute(self, idx: int) -> Any:
        """Take the next good sample: a function of the index alone, so a resumed run takes the same."""
        reports: list[str] = []
        for offset in range(min(_MAX_BAD_IN_A_ROW, len(self))):
            candidate = SampleIndex((int(idx) + offset) % len(self), getattr(idx, 'seed', 0), getattr(idx, 'epoch', 0))
            try:
                sample = self._prepare(candidate)
            except (DataError, OSError) as error:  # OSError: DataNotFoundError and what foreign loaders raise
                reports.append(' '.join(str(error).split()))
            else:
                return Substitute(sample, tuple(reports)) if reports else sample
        raise DataError(
            f'{len(reports)} bad samples in a row, from number {int(idx)} on: something is wrong with all of them. The '
            f'first: {reports[0]}'
        )

    def _prepare(self, idx: int) -> Any:
        sample = self.prepare_data(idx)
        if sample is None:
            raise DataError(
                f'{type(self).__name__}: the pipeline returned None for sample {int(idx)} '
                f'({self.get_data_info(idx)}). A transform that rejects samples must raise with the reason.'
            )
        return sample

    def nothing_to_learn(self) -> str:
        """Tell why no sample has anything to find: no box, no segment; asked of the training set before a run.

        Returns:
            A sentence that names the file; empty if there is something.
        """
        return ''

    def draw(self, sample: DataSample, image: Any) -> np.ndarray:
        """Draw one sample for people: here the image alone; tasks add labels and predictions (``pred_*``).

        Args:
            sample: The sample as it left the pipeline or, with predictions, the model.
            image: Its image: uint8 (H, W, 3) RGB, or the packed ``inputs`` (3, H, W).

        Returns:
            A uint8 RGB picture (H', W', 3).
        """
        return to_uint8_image(image, sample)
