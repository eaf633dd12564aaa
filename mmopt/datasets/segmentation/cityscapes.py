"""Cityscapes in its own layout.

::

    data/cityscapes/leftImg8bit/{train,val}/<city>/<city>_<seq>_<frame>_leftImg8bit.png    (or .jpg) 2048x1024
    data/cityscapes/gtFine/{train,val}/<city>/<city>_<seq>_<frame>_gtFine_labelIds.png

Of the labels, ``labelIds`` (0-33, as downloaded) or ``labelTrainIds`` (0-18 and 255, of the official scripts) serve.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mmopt.datasets.segmentation.image_mask import SegmentationDataset, list_files
from mmopt.registry import DATASETS
from mmopt.utils.errors import DataError

__all__ = ['CITYSCAPES_CLASSES', 'CITYSCAPES_PALETTE', 'LABEL_ID_TO_TRAIN_ID', 'CityscapesDataset']

CITYSCAPES_CLASSES = (
    'road', 'sidewalk', 'building', 'wall', 'fence', 'pole', 'traffic light', 'traffic sign', 'vegetation', 'terrain',
    'sky', 'person', 'rider', 'car', 'truck', 'bus', 'train', 'motorcycle', 'bicycle',
)  # fmt: skip

CITYSCAPES_PALETTE = (
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (190, 153, 153), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (152, 251, 152), (70, 130, 180), (220, 20, 60), (255, 0, 0), (0, 0, 142), (0, 0, 70),
    (0, 60, 100), (0, 80, 100), (0, 0, 230), (119, 11, 32),
)  # fmt: skip
"""The data set's own colors."""

_LABEL_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
LABEL_ID_TO_TRAIN_ID = dict.fromkeys(range(34), 255) | {value: index for index, value in enumerate(_LABEL_IDS)}
"""The 19 classes that are evaluated; the other 15 are ignored."""

_KINDS = dict(labelIds=LABEL_ID_TO_TRAIN_ID, labelTrainIds={})


@DATASETS.register_module()
class CityscapesDataset(SegmentationDataset):
    """List the images of a split with their labels, sorted by name.

    Args:
        data_root: Folder that holds ``leftImg8bit`` and ``gtFine``.
        split: ``'train'``, ``'val'``, or any other folder of both.
        label_kind: ``'labelIds'`` or ``'labelTrainIds'``.
        pipeline: Transforms or their configs.
        **kwargs: Passed on to :class:`mmengine.dataset.BaseDataset`.

    Raises:
        DataNotFoundError: If a folder is missing or empty.
        DataError: If an image has no label.
        ValueError: If ``label_kind`` is neither.
    """

    METAINFO = dict(classes=CITYSCAPES_CLASSES, palette=CITYSCAPES_PALETTE)

    def __init__(
        self,
        data_root: str = 'data/cityscapes',
        split: str = 'train',
        label_kind: str = 'labelIds',
        pipeline: Sequence[dict | Callable] = (),
        **kwargs,
    ) -> None:
        if label_kind not in _KINDS:
            raise ValueError(f'CityscapesDataset: label_kind must be one of {list(_KINDS)}, got {label_kind!r}.')
        self.img_dir = Path(data_root, 'leftImg8bit', split)
        self.ann_dir = Path(data_root, 'gtFine', split)
        self.label_kind = label_kind
        super().__init__(data_root=data_root, pipeline=pipeline, label_map=_KINDS[label_kind], **kwargs)

    def list_pairs(self) -> list[tuple[str, str]]:
        """Return the paths of images and their labels, sorted by name."""
        images = list_files(self.img_dir, ('.png', '.jpg'))
        labels = list_files(self.ann_dir, ('.png',))
        pairs = {
            stem: stem.removesuffix('_leftImg8bit') + f'_gtFine_{self.label_kind}'
            for stem in sorted(images)
            if stem.endswith('_leftImg8bit')
        }
        lonely = [label for label in pairs.values() if label not in labels]
        if lonely or not pairs:
            what = f'{len(lonely)} of {len(pairs)} images have no label' if pairs else 'no *_leftImg8bit image'
            raise DataError(
                f'{what} in {self.img_dir} and {self.ann_dir}'
                + (f', the first missing: {lonely[0]}.png' if lonely else '')
                + '. Unpack leftImg8bit_trainvaltest.zip and gtFine_trainvaltest.zip, or set label_kind.'
            )
        return [(images[image], labels[label]) for image, label in pairs.items()]
