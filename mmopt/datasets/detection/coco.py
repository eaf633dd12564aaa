"""Detection data in COCO's json format: anyone's, and what mmopt's own converters write.

A sample holds ``boxes`` (G, 4), x1 y1 x2 y2 in pixels of the network's input, and ``labels`` (G,). In test mode also
``truth`` (M, 6): x1, y1, x2, y2 in pixels of the file, label, and 1 for a crowd, which counts neither way.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from torch import Tensor

from mmopt.datasets.common import SampleFacts, SeededDataset
from mmopt.datasets.common.pictures import to_uint8_image
from mmopt.datasets.common.predict import Source, picture_info, read_picture
from mmopt.datasets.detection.coco_file import CocoImage, read_coco
from mmopt.datasets.detection.example import example_detection, host_bytes_detection
from mmopt.datasets.detection.facts import describe_boxes
from mmopt.datasets.detection.letterbox import fit_scale
from mmopt.datasets.detection.pairs import Pair, pair_up
from mmopt.datasets.detection.pictures import draw_boxes
from mmopt.datasets.detection.result import DetectionResult
from mmopt.datasets.detection.transforms import LoadImagePair
from mmopt.registry import DATASETS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, UserError

__all__ = ['CocoDataset']


@DATASETS.register_module()
class CocoDataset(SeededDataset):
    """Images with boxes.

    An image of the json may have a ``pair_file_name`` beside its ``file_name``: a second view of the same moment (an
    event frame), which :class:`~mmopt.datasets.detection.LoadImagePair` loads.

    Boxes are clipped to the image; those that are then narrower than ``min_side`` do not count. The log says how many.

    Args:
        ann_file: The json, relative to ``data_root``.
        data_prefix: ``dict(img=folder)``: what file names count from, relative to ``data_root``.
        min_side: Least width and height of a box, in pixels of the file.
        keep_empty: Whether images without a box are kept; a detector learns from them what is no object.
        bbox_format: ``'xywh'`` (COCO's: x, y, width, height) or ``'xyxy'`` (two corners); see
            :func:`~mmopt.datasets.detection.coco_file.read_coco`.
        **kwargs: Passed on to :class:`~mmopt.datasets.common.SeededDataset`. ``metainfo['classes']`` chooses and orders
            the categories; without it they are all of the json, by id.

    Raises:
        DataNotFoundError: If the json is missing.
        DataError: If it is no COCO json, an entry cannot be read, or it lacks a class.
        ValueError: If ``bbox_format`` is another.
    """

    METAINFO = dict(task='detection')
    TARGETS = 'boxes'
    result_type = DetectionResult

    def __init__(
        self,
        ann_file: str,
        *,
        data_prefix: dict | None = None,
        min_side: float = 1.0,
        keep_empty: bool = True,
        bbox_format: str | None = None,
        **kwargs,
    ) -> None:
        if bbox_format not in (None, 'xywh', 'xyxy'):
            raise ValueError(f"bbox_format must be 'xywh' or 'xyxy', got {bbox_format!r}.")
        self.bbox_format = bbox_format
        self.min_side = min_side
        self.keep_empty = keep_empty
        super().__init__(ann_file=ann_file, data_prefix=data_prefix or dict(img=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the json."""
        coco = read_coco(self.ann_file, self.bbox_format)
        if 'classes' not in self._metainfo:
            self._metainfo['classes'] = coco.classes
        classes = list(self._metainfo['classes'])
        absent = sorted(set(classes) - set(coco.classes))
        if absent:
            raise DataError(
                f'{self.ann_file}: metainfo.classes names {", ".join(absent)}, the json has '
                f'{", ".join(sorted(coco.classes))}.'
            )
        for note in coco.notes:
            print_log(f'{self.ann_file}: {note}', 'current')
        # Number of a category's class; -1 for one that is not chosen.
        label_of = np.array([classes.index(name) if name in classes else -1 for name in coco.classes], dtype=np.float32)
        return self._list_images(coco.images, label_of)

    def _list_images(self, images: Sequence[CocoImage], label_of: np.ndarray) -> list[dict]:
        folder = Path(self.data_prefix.get('img') or self.data_root or '.')
        listed, num_clipped, num_small = [], 0, 0
        for image in images:
            truth_M6 = image.boxes_M6.copy()
            truth_M6[:, 4] = label_of[truth_M6[:, 4].astype(np.int64)]
            truth_M6 = truth_M6[truth_M6[:, 4] >= 0]
            clipped_M4 = truth_M6[:, :4].clip(0, np.array([image.size[1], image.size[0]] * 2, np.float32))
            num_clipped += int((clipped_M4 != truth_M6[:, :4]).any(axis=1).sum())
            truth_M6[:, :4] = clipped_M4
            large_M = (clipped_M4[:, 2:] - clipped_M4[:, :2] >= self.min_side).all(axis=1)
            num_small += int((~large_M).sum())
            truth_M6 = truth_M6[large_M]
            if not len(truth_M6) and not self.keep_empty:
                continue
            entry = dict(img_path=str(folder / image.name), img_id=image.id, ori_shape=image.size, truth=truth_M6)
            if image.pair_name:
                entry['pair_path'] = str(folder / image.pair_name)
            listed.append(entry)
        if num_clipped or num_small:
            print_log(
                f'{self.ann_file}: {num_clipped} boxes reached out of their image and were clipped, {num_small} are '
                f'narrower than {self.min_side:g} pixels and do not count.',
                'current',
            )
        if not listed:
            why = (
                f'none of its {len(images)} images has a box of {", ".join(self._metainfo["classes"]) or "any class"} '
                f'that is {self.min_side:g} pixels wide, and keep_empty is off'
                if images
                else 'the list of images is empty'
            )
            raise DataError(f'{self.ann_file}: no image to use: {why}.')
        return listed

    def get_data_info(self, idx: int) -> dict:
        """Return what the pipeline starts from; ``dataset`` lets a transform take further images."""
        info = super().get_data_info(idx)
        truth_M6 = info['truth']
        counts_M = truth_M6[:, 5] == 0
        return (
            info
            | dict(
                dataset=self,
                test_mode=self.test_mode,
                json_shape=info['ori_shape'],  # what loads the file replaces the other
                boxes=truth_M6[counts_M, :4].copy(),
                labels=truth_M6[counts_M, 4].astype(np.int64),
            )
        )

    def nothing_to_learn(self) -> str:
        """Tell whether no image has a box that counts."""
        self.full_init()
        if any(len(self.get_data_info(index)['boxes']) for index in range(len(self))):
            return ''
        return (
            f'{self.ann_file}: none of its {len(self)} images has a box of {", ".join(self.metainfo["classes"])} that '
            f'is no crowd, at least {self.min_side:g} pixels wide and high, and inside its image.'
        )

    def describe_sample(self, index: int) -> SampleFacts:
        """Return size and boxes of an image; see :mod:`mmopt.datasets.common.facts`."""
        info = self.get_data_info(index)
        return describe_boxes(
            info['img_path'], info['json_shape'], info['boxes'], info['labels'], self.metainfo['classes']
        )

    def get_cat_ids(self, idx: int) -> list[int]:
        """Return the classes of an image's boxes, for ``ClassBalancedDataset``."""
        return super().get_data_info(idx)['truth'][:, 4].astype(int).tolist()

    def anchor_sizes(self) -> np.ndarray:
        """Return widths and heights (N, 2) of all boxes in pixels of the network's input, for k-means."""
        self.full_init()
        size = next((step.size for step in self.pipeline.transforms if hasattr(step, 'size')), None)
        sizes = []
        for index in range(len(self)):
            info = self.get_data_info(index)
            scale = 1.0 if size is None else fit_scale(info['ori_shape'], size)
            sizes.append((info['boxes'][:, 2:] - info['boxes'][:, :2]) * scale)
        return np.concatenate(sizes)

    @classmethod
    def example_sample(cls, config: Mapping, max_items: int | None = None) -> dict:
        """Return what the pipeline gives, without the data; see :mod:`mmopt.datasets.common.example`."""
        return example_detection(config, cls.__name__, max_items)

    @classmethod
    def host_bytes(cls, config: Mapping) -> dict[str, int]:
        """Return what a loader process holds per sample; see :mod:`mmopt.datasets.common.example`."""
        return host_bytes_detection(config, cls.__name__)

    @property
    def takes_pairs(self) -> bool:
        """Whether the pipeline loads an image and its pair."""
        return any(isinstance(step, LoadImagePair) for step in self.pipeline.transforms)

    def pair_up(self, paths: Sequence[str], beside: str | None) -> list[Pair | None]:
        """Find the second picture of each; see :func:`~mmopt.datasets.detection.pairs.pair_up`."""
        return pair_up(paths, beside)

    def predict_info(self, source: Source) -> dict:
        """Return what the test pipeline starts from; see :mod:`mmopt.datasets.common.predict`."""
        if isinstance(source, Pair):
            start: dict = source.to_load()
        elif self.takes_pairs and not (isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[2] == 6):
            raise UserError(
                'The model takes pairs of pictures: name the folder of the second ones with --events, or give arrays '
                'of six channels.'
            )
        else:
            start = picture_info(source, 6 if self.takes_pairs else 3)
        return start | dict(test_mode=False, boxes=np.zeros((0, 4), np.float32), labels=np.zeros(0, np.int64))

    def to_result(self, sample: DataSample, source: Source) -> DetectionResult:
        """Return a predicted sample in pixels of its file."""
        return DetectionResult.of_sample(sample, self.metainfo['classes'], partial(read_picture, self, source))

    def draw(self, sample: DataSample, image: Tensor | np.ndarray) -> np.ndarray:
        """Draw boxes and predictions, see :func:`draw_boxes`; a pair of images side by side."""
        channels_first = image.shape[0] in (3, 6) and image.ndim == 3 and image.shape[-1] not in (3, 6)
        views: Any
        if channels_first:
            views = image.reshape(-1, 3, *image.shape[1:])
        else:
            views = np.split(np.asarray(image), image.shape[-1] // 3, axis=-1)
        pictures = [draw_boxes(to_uint8_image(view, sample), sample, self.metainfo['classes']) for view in views]
        return np.concatenate(pictures, axis=1)
