"""The data set base of all tasks: MMEngine's, with a private generator per sample and errors that name the sample."""

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
from mmengine.dataset import BaseDataset
from torch import Tensor

from mmopt.datasets.common.pictures import to_uint8_image
from mmopt.registry import TRANSFORMS
from mmopt.structures import DataSample
from mmopt.utils.seeding import global_generators_of, sample_rng

__all__ = ['SeededDataset']


class SeededDataset(BaseDataset):
    """Hand each sample its own random generator and never replace a bad sample by another.

    A pipeline receives three keys besides the sample's own: ``rng``, a :class:`numpy.random.Generator` that depends
    on (seed, epoch, index) alone, from which transforms draw and from nothing else; ``epoch``; and ``fields``, an
    empty list in which loaders note the keys that the packing transform puts into the :class:`DataSample`. Transforms
    of other libraries find Python's and NumPy's global generators seeded by the sample as well (torch's not).

    MMEngine's data set silently draws another sample when a pipeline returns None; here that is an error, because it
    would hide bad files and break exact resuming.

    A data set says how its samples are shown by overriding :meth:`draw`: ``tools/browse_dataset.py`` and
    ``tools/test.py --show-dir`` call it and name no task.

    Args:
        *args: Passed on to :class:`mmengine.dataset.BaseDataset`.
        pipeline: Transforms or their configs. Names are looked up in mmopt's registry first, then in mmcv's.
        **kwargs: Passed on to :class:`mmengine.dataset.BaseDataset`.
    """

    def __init__(self, *args, pipeline: Sequence[dict | Callable] = (), **kwargs) -> None:
        # Built here: MMEngine's Compose asks the root registry, which without a default scope never sees mmopt's.
        built = [TRANSFORMS.build(transform) if isinstance(transform, dict) else transform for transform in pipeline]
        self._has_foreign = any(not getattr(transform, '__module__', '').startswith('mmopt.') for transform in built)
        super().__init__(*args, pipeline=built, **kwargs)

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample."""
        results = self.get_data_info(idx)
        results.update(rng=sample_rng(idx), epoch=getattr(idx, 'epoch', 0), fields=[], sample_idx=int(idx))
        with global_generators_of(idx) if self._has_foreign else nullcontext():
            return self.pipeline(results)

    def __getitem__(self, idx: int) -> Any:
        if not self._fully_initialized:
            self.full_init()
        sample = self.prepare_data(idx)
        if sample is None:
            raise RuntimeError(
                f'{type(self).__name__}: the pipeline returned None for sample {int(idx)} '
                f'({self.get_data_info(idx)}). A transform that rejects samples must raise with the reason.'
            )
        return sample

    def draw(self, sample: DataSample, image: Tensor | np.ndarray) -> np.ndarray:
        """Draw one sample for people: here the image alone; tasks add labels and predictions (``pred_*``).

        Args:
            sample: The sample as it left the pipeline or, with predictions, the model.
            image: Its image: uint8 (H, W, 3) RGB, or the packed ``inputs`` (3, H, W).

        Returns:
            A uint8 RGB picture (H', W', 3).
        """
        return to_uint8_image(image, sample)
