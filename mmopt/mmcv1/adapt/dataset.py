"""A data set of mmcv 1.x in the contract of mmopt's loaders: its samples depend on (seed, epoch, index) alone.

mmcv 1.x draws from the global generators of NumPy, Python and torch, whose state depends on all that was drawn before.
Here they are seeded per sample, so that a run resumes bit for bit and does not depend on the number of workers.
"""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.config import ConfigDict
from torch.utils.data import Dataset

from mmopt.mmcv1.adapt.find import find_build_dataset
from mmopt.mmcv1.standins.collate import mmcv1_collate
from mmopt.registry import DATASETS, FUNCTIONS
from mmopt.utils.errors import UserError
from mmopt.utils.seeding import global_generators_of

__all__ = ['MMCV1Dataset']

FUNCTIONS.register_module(name='mmcv1_collate', module=mmcv1_collate)
_PLACES = ('data_root', 'ann_file', 'img_prefix', 'data_prefix', 'img_dir', 'ann_dir', 'split')


@DATASETS.register_module()
class MMCV1Dataset(Dataset):
    """A repository's data set; what it has beside samples (``evaluate``, ``flag``, ``CLASSES``...) is passed on.

    Args:
        source: Its config, as the repository has it: a dict, or a list of them.
        test_mode: Build it for an evaluation.

    Raises:
        UserError: If it has no samples.
    """

    def __init__(self, source: Mapping[str, Any] | Sequence[Mapping[str, Any]], test_mode: bool = False) -> None:
        first = source[0] if isinstance(source, Sequence) else source
        build = find_build_dataset(first['type'])
        config = ConfigDict(source=source).source
        if test_mode and 'default_args' in inspect.signature(build).parameters:
            self.inner: Any = build(config, default_args=dict(test_mode=True))
        else:
            self.inner = build(config)
        if hasattr(self.inner, '__len__') and not len(self.inner):
            places = {key: first[key] for key in _PLACES if first.get(key)}
            raise UserError(
                f'{type(self.inner).__name__} of {type(self.inner).__module__} has no samples: it was built with '
                f'{places or "no files"}; check the files that it looks for there (their endings, too).'
            )

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        with global_generators_of(index):
            return self.inner[int(index)]

    def __getattr__(self, name: str) -> Any:
        if name == 'inner':  # not there yet: while it is unpickled
            raise AttributeError(name)
        return getattr(self.inner, name)

    @property
    def metainfo(self) -> dict[str, Any]:
        """Names and colors of the classes, as MMEngine calls them."""
        found = dict(classes=getattr(self.inner, 'CLASSES', None), palette=getattr(self.inner, 'PALETTE', None))
        return {key: value for key, value in found.items() if value is not None}
