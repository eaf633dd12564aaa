"""The data set base of all tasks: MMEngine's, with a private generator per sample and errors that name the sample."""

from typing import Any

from mmengine.dataset import BaseDataset

from mmopt.utils.seeding import sample_rng

__all__ = ['SeededDataset']


class SeededDataset(BaseDataset):
    """Hand each sample its own random generator and never replace a bad sample by another.

    A pipeline receives ``results['rng']``, a :class:`numpy.random.Generator` that depends on (seed, epoch, index)
    alone; transforms draw from it and from nothing else. MMEngine's data set silently draws another sample when a
    pipeline returns None; here that is an error, because it would hide bad files and break exact resuming.
    """

    def prepare_data(self, idx: int) -> Any:
        """Run the pipeline on one sample."""
        results = self.get_data_info(idx)
        results['rng'] = sample_rng(idx)
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
