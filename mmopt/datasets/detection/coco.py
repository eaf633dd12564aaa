"""Detection data in COCO's json format: anyone's, and what mmopt's own converters write.

A sample holds ``boxes`` (G, 4), x1 y1 x2 y2 in pixels of the network's input, and ``labels`` (G,). In test mode also
``truth`` (M, 6): x1, y1, x2, y2 in pixels of the file, label, and 1 for a crowd, which counts neither way.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.logging import print_log
from torch import Tensor

from mmopt.config.spelling import spelled
from mmopt.datasets.common import SeededDataset
from mmopt.datasets.common.pictures import to_uint8_image
from mmopt.datasets.detection.example import example_detection, host_bytes_detection
from mmopt.datasets.detection.letterbox import fit_scale
from mmopt.datasets.detection.pictures import draw_boxes
from mmopt.registry import DATASETS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, DataNotFoundError

__all__ = ['CocoDataset']

_KEYS = dict(
    images=('id', 'file_name', 'height', 'width'),
    annotations=('image_id', 'category_id', 'bbox'),
    categories=('id', 'name'),
)


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
        **kwargs: Passed on to :class:`~mmopt.datasets.common.SeededDataset`. ``metainfo['classes']`` chooses and orders
            the categories; without it they are all of the json, by id.

    Raises:
        DataNotFoundError: If the json is missing.
        DataError: If it is no COCO json, or lacks a class.
    """

    METAINFO = dict(task='detection')

    def __init__(
        self,
        ann_file: str,
        *,
        data_prefix: dict | None = None,
        min_side: float = 1.0,
        keep_empty: bool = True,
        **kwargs,
    ) -> None:
        self.min_side = min_side
        self.keep_empty = keep_empty
        super().__init__(ann_file=ann_file, data_prefix=data_prefix or dict(img=''), **kwargs)

    def load_data_list(self) -> list[dict]:
        """Read the json."""
        coco = self._read()
        by_id = {item['id']: item['name'] for item in coco['categories']}
        if 'classes' not in self._metainfo:
            self._metainfo['classes'] = tuple(by_id[key] for key in sorted(by_id))
        classes = list(self._metainfo['classes'])
        absent = sorted(set(classes) - set(by_id.values()))
        if absent:
            raise DataError(
                f'{self.ann_file}: metainfo.classes names {", ".join(absent)}, the json has '
                f'{", ".join(sorted(by_id.values()))}.'
            )
        label_of = {key: classes.index(name) for key, name in by_id.items() if name in classes}
        rows: dict[Any, list] = {image['id']: [] for image in coco['images']}
        for item in coco['annotations']:
            if item['category_id'] not in by_id or item['image_id'] not in rows:
                raise DataError(
                    f'{self.ann_file}: annotation {item.get("id")} names category {item["category_id"]} of image '
                    f'{item["image_id"]}; one of them is not listed.'
                )
            if item['category_id'] in label_of:
                left, top, width, height = self._bbox(item)
                crowd = item.get('iscrowd', 0)
                rows[item['image_id']].append(
                    (left, top, left + width, top + height, label_of[item['category_id']], crowd)
                )
        return self._list_images(coco['images'], rows)

    def _read(self) -> dict:
        path = Path(self.ann_file)
        try:
            coco = json.loads(path.read_text(encoding='utf-8'))
        except FileNotFoundError as error:
            raise DataNotFoundError(
                f'{path} does not exist. `python tools/datasets/prepare_fred.py` makes it from FRED, '
                '`prepare_clips.py` from videos, `make_demo.py fred` a generated set (--options '
                f'{spelled("data_root")}=...).'
            ) from error
        except (OSError, ValueError) as error:
            raise DataError(f'{path}: not readable as JSON: {error}.') from error
        missing = [key for key in _KEYS if key not in coco]
        if missing:
            raise DataError(f'{path}: no COCO json: {", ".join(missing)} missing.')
        for kind, keys in _KEYS.items():
            for item in coco[kind]:
                if not isinstance(item, dict) or not set(keys) <= item.keys():
                    raise DataError(f'{path}: {kind}: each entry needs {", ".join(keys)}; one is {item}.')
        if len({image['id'] for image in coco['images']}) < len(coco['images']):
            raise DataError(f'{path}: images: two have the same id.')
        return coco

    def _bbox(self, item: dict) -> list[float]:
        try:
            bbox = [float(value) for value in item['bbox']]
        except (TypeError, ValueError):
            bbox = []
        if len(bbox) != 4 or not np.isfinite(bbox).all():
            raise DataError(
                f'{self.ann_file}: annotation {item.get("id")}: bbox must be four numbers, x, y, width and height, is '
                f'{item["bbox"]}.'
            )
        return bbox

    def _list_images(self, images: Sequence[dict], rows: dict) -> list[dict]:
        folder = Path(self.data_prefix.get('img') or self.data_root or '.')
        listed, num_clipped, num_small = [], 0, 0
        for image in images:
            truth_M6 = np.array(rows[image['id']], dtype=np.float32).reshape(-1, 6)
            clipped_M4 = truth_M6[:, :4].clip(0, np.array([image['width'], image['height']] * 2, np.float32))
            num_clipped += int((clipped_M4 != truth_M6[:, :4]).any(axis=1).sum())
            truth_M6[:, :4] = clipped_M4
            large_M = (clipped_M4[:, 2:] - clipped_M4[:, :2] >= self.min_side).all(axis=1)
            num_small += int((~large_M).sum())
            truth_M6 = truth_M6[large_M]
            if not len(truth_M6) and not self.keep_empty:
                continue
            entry = dict(
                img_path=str(folder / image['file_name']),
                img_id=image['id'],
                ori_shape=(image['height'], image['width']),
                truth=truth_M6,
            )
            if 'pair_file_name' in image:
                entry['pair_path'] = str(folder / image['pair_file_name'])
            listed.append(entry)
        if num_clipped or num_small:
            print_log(
                f'{self.ann_file}: {num_clipped} boxes reached out of their image and were clipped, {num_small} are '
                f'narrower than {self.min_side:g} pixels and do not count.',
                'current',
            )
        if not listed:
            raise DataError(f'{self.ann_file}: no image to use.')
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
