"""Folders of images and masks: CamVid, binary masks, anything of one class number per pixel."""

import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from mmopt.config.spelling import spelled
from mmopt.datasets.common.base import SeededDataset
from mmopt.datasets.common.facts import SampleFacts
from mmopt.datasets.common.pictures import to_uint8_image
from mmopt.datasets.common.predict import Source, picture_info, read_picture
from mmopt.datasets.segmentation.example import example_segmentation, host_bytes_segmentation
from mmopt.datasets.segmentation.masks import IGNORED_16, read_label, read_mask, unknown_label
from mmopt.datasets.segmentation.pictures import draw_segmentation, palette_of
from mmopt.datasets.segmentation.result import SegmentationResult
from mmopt.registry import DATASETS
from mmopt.structures import DataSample
from mmopt.structures.pixel_labels import MOST_CLASSES, ignored_label, label_type
from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.shipped import tool_command

__all__ = ['ImageMaskDataset', 'SegmentationDataset', 'label_table']

_IMAGE_SUFFIXES = ('.png', '.jpg', '.jpeg', '.bmp', '.webp')
_MASK_SUFFIXES = ('.png', '.bmp')
_IGNORED_8 = 255
_LOOKED_AT = 8
"""Masks that are looked at before a run; one with something to learn ends the search."""


def label_table(num_classes: int, label_map: Mapping[int, int] | None = None) -> np.ndarray:
    """Make the table from values of a mask to classes.

    Args:
        num_classes: Classes, 0 to ``num_classes - 1``.
        label_map: Value of a mask, of 8 or 16 bits, -> class, or 255 to ignore (65535 where 255 is a class). Values
            that are no key stand for themselves.

    Returns:
        (V,) of :func:`~mmopt.structures.pixel_labels.label_type`, V at least 256 and only so long as classes and map
        need. Values that are neither a class nor ignored give
        :func:`~mmopt.datasets.segmentation.masks.unknown_label`; beyond the table, 65535 is ignored where there are
        more classes than 8 bits hold, and the others are unknown.

    Raises:
        ValueError: If an entry of the map is no value or no class, or there are more classes than a label can hold.
    """
    if num_classes > MOST_CLASSES:
        raise ValueError(
            f'{num_classes} classes: a label has at most {MOST_CLASSES}. Join rare classes with label_map.'
        )
    dtype = np.dtype(label_type(num_classes))
    voids = [_IGNORED_8] if num_classes <= _IGNORED_8 else []
    if dtype != np.uint8:
        voids.append(IGNORED_16)
    numbers = {int(value): target for value, target in (label_map or {}).items()}
    for value, target in numbers.items():
        if not 0 <= value <= np.iinfo(np.uint16).max or not (0 <= target < num_classes or target in voids):
            raise ValueError(
                f'label_map: {value} -> {target} is not allowed: values are 0-65535, classes 0-{num_classes - 1}, and '
                f'{voids[0]} ignores.'
            )
    ignored = ignored_label(dtype)
    table = np.full(max(256, num_classes, *(value + 1 for value in numbers)), unknown_label(dtype), dtype)
    table[:num_classes] = np.arange(num_classes)
    table[[value for value in voids if value < len(table)]] = ignored
    for value, target in numbers.items():
        table[value] = ignored if target in voids else target
    return table


class SegmentationDataset(SeededDataset):
    """What all segmentation data sets share: classes, the table of label values, drawing.

    A subclass lists pairs in :meth:`list_pairs`. The keys of a sample are ``img_path``, ``label_path``,
    ``label_table``, ``num_classes`` and ``data_root``.

    Args:
        data_root: Folder of the data set.
        pipeline: Transforms or their configs.
        label_map: See :func:`label_table`.
        palette: Red, green and blue of each class in masks that hold colors. Without it, masks hold numbers.
        **kwargs: Passed on to :class:`mmengine.dataset.BaseDataset` (``metainfo``, ``indices``, ...).
    """

    result_type = SegmentationResult
    TARGETS = 'share of the pictures'

    def __init__(
        self,
        data_root: str = '',
        pipeline: Sequence[dict | Callable] = (),
        label_map: Mapping[int, int] | None = None,
        palette: Sequence[Sequence[int]] | None = None,
        **kwargs,
    ) -> None:
        self.label_map = dict(label_map or {})
        self.palette = None if palette is None else [tuple(color) for color in palette]
        super().__init__(data_root=data_root, data_prefix={}, pipeline=pipeline, **kwargs)

    def list_pairs(self) -> list[tuple[str, str]]:
        """Return the paths of images and their masks."""
        raise NotImplementedError(f'{type(self).__name__} must list its pairs.')

    def load_data_list(self) -> list[dict]:
        """List the pairs."""
        classes = self.metainfo.get('classes')
        if not classes:
            raise DataError(
                f"{type(self).__name__}: no classes; give metainfo=dict(classes=('road', ...)) in the order of the "
                'class numbers.'
            )
        self._label_table = label_table(len(classes), self.label_map)
        pairs = self.list_pairs()
        self._check_255([mask for _, mask in pairs], len(classes))
        return [
            dict(
                img_path=image,
                label_path=mask,
                num_classes=len(classes),
                mask_palette=self.palette,
                data_root=self.data_root or '',
            )
            for image, mask in pairs
        ]

    def get_data_info(self, idx: int) -> dict:
        """Return what the pipeline starts from, the table of label values included."""
        # Not in the list: that pickles each sample by itself, and a table of 16 bits has up to 128 KiB.
        return super().get_data_info(idx) | dict(label_table=self._label_table)

    def _check_255(self, masks: Sequence[str], num_classes: int) -> None:
        """Refuse masks in which nobody knows whether 255 is ignored, unless the map says what it is.

        Those of 0 and 255 alone, whose foreground would be ignored; and those of 8 bits where 255 is a class.
        """
        if num_classes < 2 or self.palette is not None or _IGNORED_8 in self.label_map:
            return
        seen: set[int] = set()
        for path in masks[:_LOOKED_AT]:
            try:
                mask_HW = read_mask(path)
            except (DataError, DataNotFoundError):
                return  # found with its name when it is loaded
            values = set(np.unique(mask_HW).tolist())
            if num_classes > _IGNORED_8:
                if mask_HW.dtype == np.uint8 and _IGNORED_8 in values:
                    raise DataError(
                        f'{path}: a mask of 8 bits holds 255, by which such masks ignore, and with {num_classes} '
                        'classes it is one of them. Say in the data set which it is: label_map={255: 65535} ignores '
                        'it, label_map={255: 255} is the class.'
                    )
                continue
            seen |= values
            if not seen <= {0, _IGNORED_8}:
                return
        if seen == {0, _IGNORED_8}:
            raise DataError(
                f'{masks[0]}: the masks hold 0 and 255 alone, and 255 ignores. If it is the foreground, say '
                'label_map={255: 1} in the data set; if it is to be ignored, label_map={255: 255}.'
            )

    def read_label(self, info: Mapping) -> np.ndarray:
        """Read the label of a sample, (H, W), in the size of its file.

        Args:
            info: What :meth:`get_data_info` returns.

        Returns:
            Classes, of :func:`~mmopt.structures.pixel_labels.label_type`;
            :func:`~mmopt.structures.pixel_labels.ignored_label` where they are ignored.
        """
        return read_label(info['label_path'], info['label_table'], self.palette)

    def nothing_to_learn(self) -> str:
        """Tell whether every pixel of the first masks is ignored."""
        self.full_init()
        infos = [self.get_data_info(index) for index in range(min(len(self), _LOOKED_AT))]
        for info in infos:
            try:
                label_HW = self.read_label(info)
            except (DataError, DataNotFoundError):  # which the run reports, or skips if it is told to
                return ''
            if (label_HW != ignored_label(label_HW.dtype)).any():
                return ''
        return (
            f'{infos[0]["label_path"]}: every pixel of it and of the {len(infos) - 1} masks behind it is ignored '
            '(by itself or through label_map).'
        )

    @classmethod
    def example_sample(cls, config: Mapping, max_items: int | None = None) -> dict:
        """Return what the pipeline gives, without the data; see :mod:`mmopt.datasets.common.example`."""
        del max_items  # one label per pixel
        return example_segmentation(config, cls.__name__)

    @classmethod
    def host_bytes(cls, config: Mapping) -> dict[str, int]:
        """Return what a loader process holds per sample; see :mod:`mmopt.datasets.common.example`."""
        return host_bytes_segmentation(config, cls.__name__)

    def describe_sample(self, index: int) -> SampleFacts:
        """Return the size of a mask and the share of each class; see :mod:`mmopt.datasets.common.facts`."""
        self.full_init()
        info = self.get_data_info(index)
        label_HW = read_label(info['label_path'], info['label_table'], info.get('mask_palette'))
        ignored = ignored_label(label_HW.dtype)
        counts = np.bincount(label_HW.ravel(), minlength=ignored + 1) / label_HW.size
        classes = self.metainfo['classes']
        targets = {name: float(share) for name, share in zip(classes, counts, strict=False) if share}
        height, width = label_HW.shape
        numbers = {'width px': float(width), 'height px': float(height), 'ignored share': float(counts[ignored])}
        notes = ('every pixel is ignored',) if counts[ignored] == 1 else ()
        if len(targets) == 1 and len(classes) > 1 and not counts[ignored]:
            notes = (f'every pixel is {next(iter(targets))}',)
        return SampleFacts(info['img_path'], targets, numbers | dict(classes=float(len(targets))), notes)

    def predict_info(self, source: Source) -> dict:
        """Return what the test pipeline starts from; see :mod:`mmopt.datasets.common.predict`."""
        return picture_info(source) | dict(num_classes=len(self.metainfo['classes']))

    def to_result(self, sample: DataSample, source: Source) -> SegmentationResult:
        """Return a predicted sample; the model has brought it to the size of its file."""
        label_HW = sample.pred_label.cpu().numpy()
        palette, load = self.metainfo.get('palette'), partial(read_picture, self, source)
        kept = sample.get('pred_probability')
        probabilities_KHW = None if kept is None else kept.cpu().numpy()
        return SegmentationResult(label_HW, self.metainfo['classes'], palette, load, probabilities_KHW)

    def draw(self, sample: DataSample, image: Tensor | np.ndarray) -> np.ndarray:
        """Draw image, prediction (``pred_label``, if there is one) and ground truth side by side."""
        classes = self.metainfo['classes']
        return draw_segmentation(
            to_uint8_image(image, sample),
            sample.label.cpu().numpy(),
            sample.pred_label.cpu().numpy() if 'pred_label' in sample else None,
            title=Path(sample.img_path).stem,
            classes=classes,
            palette=self.metainfo.get('palette') or palette_of(len(classes)),
        )


@DATASETS.register_module()
class ImageMaskDataset(SegmentationDataset):
    """One folder of images, one of masks of the same names; subfolders are entered.

    Args:
        data_root: What both folders are relative to.
        ann_dir: Folder of masks: class numbers as gray values or palette indices, or colors (``palette``).
        mask_suffix: What the name of a mask has after the name of its image, before the ending: ``'_mask'``.
        pipeline: Transforms or their configs.
        **kwargs: ``label_map`` (value -> class, 255 ignores, or 65535 where 255 is a class: ``{11: 255}`` for CamVid,
            ``{255: 1}`` for binary masks), ``palette`` (colors of the classes in the masks),
            ``metainfo=dict(classes=..., palette=...)`` and what :class:`mmengine.dataset.BaseDataset` takes.

    Raises:
        DataNotFoundError: If a folder is missing or empty.
        DataError: If an image has no mask.
    """

    def __init__(
        self,
        data_root: str = '',
        img_dir: str = 'train',
        ann_dir: str = 'trainannot',
        mask_suffix: str = '',
        pipeline: Sequence[dict | Callable] = (),
        **kwargs,
    ) -> None:
        self.img_dir = Path(data_root, img_dir)
        self.ann_dir = Path(data_root, ann_dir)
        self.mask_suffix = mask_suffix
        super().__init__(data_root=data_root, pipeline=pipeline, **kwargs)

    def list_pairs(self) -> list[tuple[str, str]]:
        """Return the paths of images and their masks, sorted by name."""
        images, masks = list_files(self.img_dir, _IMAGE_SUFFIXES), list_files(self.ann_dir, _MASK_SUFFIXES)
        lonely = [stem for stem in images if stem + self.mask_suffix not in masks]
        if lonely:
            raise DataError(
                f'{len(lonely)} of {len(images)} images in {self.img_dir} have no mask in {self.ann_dir}, the first: '
                f'{lonely[0]}{self.mask_suffix}.png. Add them, or set mask_suffix.'
            )
        return [(images[stem], masks[stem + self.mask_suffix]) for stem in sorted(images)]


def list_files(folder: Path, suffixes: Sequence[str]) -> dict[str, str]:
    """Map the names below a folder (without ending, subfolders included) to paths.

    Args:
        suffixes: Endings that count, in lower case.

    Returns:
        Paths by name.

    Raises:
        DataNotFoundError: If the folder is missing or holds none.
        DataError: If a name is there with two endings.
    """
    if not folder.is_dir():
        raise DataNotFoundError(
            f'segmentation data not found: the folder {folder} does not exist. Set {spelled("data_root")}, or make '
            f'the demo: {tool_command("make_demo", "cityscapes")}'
        )
    paths: dict[str, str] = {}
    for parent, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in suffixes or stem.startswith('.'):
                continue
            key = os.path.relpath(os.path.join(parent, stem), folder)
            if key in paths:
                raise DataError(f'{folder}: {key} is there twice, as {Path(paths[key]).name} and {name}.')
            paths[key] = os.path.join(parent, name)
    if not paths:
        raise DataNotFoundError(f'segmentation data not found: {folder} holds no {" or ".join(suffixes)} file.')
    return paths
