"""nuScenes as single-camera bird's-eye-view segmentation: one image, one 14-class map, one camera matrix.

The layout, made by ``tools/datasets/prepare_nuscenes.py`` or, generated, by ``tools/datasets/make_demo.py nuscenes``::

    data/nuscenes/img_dir/{train,val}/<token>.jpg      (or .png) 1600x900
    data/nuscenes/ann_bev_dir/{train,val}/<token>.png  196x200, 16 bits: bit c = class c, bit 14 = ignore
    data/nuscenes/calib.json                           {token: 3x3 camera matrix of the image on disk}
"""

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from mmopt.config.spelling import spelled
from mmopt.datasets.bev.pictures import draw_bev_sample
from mmopt.datasets.bev.predict.cameras import OPTIONS, Cameras
from mmopt.datasets.bev.predict.result import BEVResult
from mmopt.datasets.bev.predict.tables import is_root
from mmopt.datasets.bev.transforms import LABEL_SHAPE
from mmopt.datasets.common.base import SeededDataset
from mmopt.datasets.common.cut_source import FoundSource
from mmopt.datasets.common.decode import decode_file, picture_size
from mmopt.datasets.common.example import find_transform, image_size
from mmopt.datasets.common.facts import SampleFacts
from mmopt.datasets.common.pictures import to_uint8_image
from mmopt.datasets.common.predict import Source, picture_info, read_picture
from mmopt.ops.bev_labels import decode_label_bits
from mmopt.registry import DATASETS
from mmopt.structures import DataSample
from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.shipped import tool_command

__all__ = ['NuScenesBEVDataset']

_IMAGE_SUFFIXES = ('.jpg', '.jpeg', '.png')
_LOOKED_AT = 8
"""Maps that are looked at before a run."""
_IGNORED = np.uint16(1 << 14)


# The second name is DiffBEV's.
@DATASETS.register_module(name=['NuScenesBEVDataset', 'NuscenesDataset'])
class NuScenesBEVDataset(SeededDataset):
    """List the images of a split with their labels and camera matrices, sorted by token.

    Everything is checked while listing, before the first iteration: each image has its label, each label its image,
    each token its camera matrix. File contents are checked when they are loaded. The keys of a sample are ``img_path``,
    ``label_path`` and ``intrinsics``, float32 (3, 3) of the image on disk.

    Args:
        data_root: Folder that holds the layout above.
        img_dir: Images of the split, relative to ``data_root``.
        ann_dir: Labels of the split, relative to ``data_root``.
        calib_file: Camera matrices, relative to ``data_root``.
        pipeline: Transforms or their configs.
        test_mode: Passed on to :class:`mmengine.dataset.BaseDataset`.
        **kwargs: Passed on to it as well (``indices`` takes a part, ``metainfo``, ``lazy_init``).

    Raises:
        DataNotFoundError: If a folder or the calibration file is missing, or the split is empty; says how to make it.
        DataError: If images, labels and calibration do not belong together, or the calibration file is broken.
    """

    result_type = BEVResult
    predict_options = OPTIONS
    TARGETS = 'share of the cells that count'
    METAINFO: dict[str, Any] = dict(
        classes=(
            'drivable_area',
            'ped_crossing',
            'walkway',
            'carpark',
            'car',
            'truck',
            'bus',
            'trailer',
            'construction_vehicle',
            'pedestrian',
            'motorcycle',
            'bicycle',
            'traffic_cone',
            'barrier',
        ),
        # Ground in muted tones, vehicles warm, people and riders bright, street furniture apart from both.
        palette=(
            (112, 122, 138),
            (104, 196, 214),
            (128, 168, 116),
            (122, 108, 164),
            (255, 152, 46),
            (222, 66, 58),
            (250, 212, 66),
            (162, 94, 52),
            (178, 146, 44),
            (60, 120, 255),
            (226, 92, 206),
            (92, 232, 128),
            (255, 246, 236),
            (246, 148, 160),
        ),
    )

    def __init__(
        self,
        data_root: str = '',
        img_dir: str = 'img_dir/train',
        ann_dir: str = 'ann_bev_dir/train',
        calib_file: str = 'calib.json',
        pipeline: Sequence[dict | Callable] = (),
        test_mode: bool = False,
        **kwargs,
    ) -> None:
        self.img_dir = Path(data_root, img_dir)
        self.ann_dir = Path(data_root, ann_dir)
        self.calib_file = Path(data_root, calib_file)
        super().__init__(data_root=data_root, data_prefix={}, pipeline=pipeline, test_mode=test_mode, **kwargs)

    def load_data_list(self) -> list[dict]:
        """List and check the split."""
        images = self._list(self.img_dir, _IMAGE_SUFFIXES)
        labels = self._list(self.ann_dir, ('.png',))
        _require(images.keys() <= labels.keys(), images.keys() - labels.keys(), 'image', self.img_dir, self.ann_dir)
        _require(labels.keys() <= images.keys(), labels.keys() - images.keys(), 'label', self.ann_dir, self.img_dir)
        calibration = self._load_calibration()
        _require(
            images.keys() <= calibration.keys(), images.keys() - calibration.keys(), 'image', self.img_dir,
            self.calib_file,
        )  # fmt: skip
        return [
            dict(img_path=images[token], label_path=labels[token], intrinsics=self._matrix(token, calibration[token]))
            for token in sorted(images)
        ]

    def _list(self, folder: Path, suffixes: tuple[str, ...]) -> dict[str, str]:
        if not folder.is_dir():
            raise self._not_found(f'the folder {folder} does not exist')
        paths: dict[str, str] = {}
        for name in sorted(os.listdir(folder)):
            stem, suffix = os.path.splitext(name)
            # Names with a leading dot are what editors and macOS leave behind.
            if suffix.lower() not in suffixes or stem.startswith('.'):
                continue
            if stem in paths:
                raise DataError(f'{folder}: {stem} is there twice, as {Path(paths[stem]).name} and {name}.')
            paths[stem] = os.path.join(folder, name)
        if not paths:
            raise self._not_found(f'the folder {folder} holds no {" or ".join(suffixes)} file')
        return paths

    def _load_calibration(self) -> dict[str, list]:
        try:
            calibration = json.loads(self.calib_file.read_text(encoding='utf-8'))
        except FileNotFoundError as error:
            raise self._not_found(f'the file {self.calib_file} does not exist') from error
        except (OSError, ValueError) as error:
            raise DataError(f'{self.calib_file}: not readable as JSON: {error}.') from error
        if not isinstance(calibration, dict):
            raise DataError(f'{self.calib_file}: must map tokens to 3x3 matrices, is a {type(calibration).__name__}.')
        return calibration

    def _matrix(self, token: str, rows: list) -> np.ndarray:
        try:
            matrix_33 = np.array(rows, np.float32)
        except (TypeError, ValueError):
            matrix_33 = np.zeros(0, np.float32)
        if matrix_33.shape != (3, 3) or not np.isfinite(matrix_33).all() or matrix_33[0, 0] <= 0:
            raise DataError(f'{self.calib_file}: {token} must have a 3x3 matrix of focal > 0, has {rows}.')
        return matrix_33

    def _not_found(self, what: str) -> DataNotFoundError:
        root = self.data_root or '.'
        return DataNotFoundError(
            f'nuScenes BEV data not found: {what} (data_root={root!r}).\n'
            f'  From nuScenes:  {tool_command("prepare_nuscenes")} <nuScenes folder> --out {root}\n'
            f'  Generated demo: {tool_command("make_demo", "nuscenes")}, '
            f'then add --options {spelled("data_root")}=data/demo/nuscenes'
        )

    def nothing_to_learn(self) -> str:
        """Tell whether every cell of the first maps is ignored."""
        self.full_init()
        paths = [self.get_data_info(index)['label_path'] for index in range(min(len(self), _LOOKED_AT))]
        for path in paths:
            try:
                label_ZX = decode_file(path, cv2.IMREAD_UNCHANGED)
            except (DataError, OSError):  # which the run reports, or skips if it is told to
                return ''
            if label_ZX.dtype != np.uint16 or (~label_ZX & _IGNORED).any():
                return ''
        return f'{paths[0]}: every cell of it and of the {len(paths) - 1} maps behind it is ignored (bit 14).'

    def describe_sample(self, index: int) -> SampleFacts:
        """Return focal length and shares of the maps of a sample; see :mod:`mmopt.datasets.common.facts`."""
        self.full_init()
        info = self.get_data_info(index)
        label_ZX = decode_file(info['label_path'], cv2.IMREAD_UNCHANGED).astype(np.int32)
        counts_ZX = label_ZX & int(_IGNORED) == 0
        num_cells = int(counts_ZX.sum())
        shares = [
            float((label_ZX[counts_ZX] >> c & 1).mean()) if num_cells else 0.0
            for c in range(len(self.metainfo['classes']))
        ]
        targets = {name: share for name, share in zip(self.metainfo['classes'], shares, strict=True) if share}
        focal_x, focal_y = float(info['intrinsics'][0, 0]), float(info['intrinsics'][1, 1])
        numbers = {
            'cells that count': float(num_cells),
            'focal length px': focal_x,
            'focal y over x': focal_y / focal_x,
        }
        notes = () if num_cells else ('every cell is ignored',)
        return SampleFacts(info['img_path'], targets, numbers | dict(classes=float(len(targets))), notes)

    @classmethod
    def example_sample(cls, config: Mapping, max_items: int | None = None) -> dict:
        """Return what the pipeline gives; see :mod:`mmopt.datasets.common.example`. Labels are maps of one size."""
        del max_items
        pipeline = config['pipeline']
        height, width = image_size(pipeline, cls.__name__)
        normalized = find_transform(pipeline, 'Normalize')
        sample = DataSample(metainfo={} if normalized is None else dict(img_norm_cfg=dict(normalized)))
        sample.label_bits = torch.zeros(LABEL_SHAPE, dtype=torch.int32)
        # A camera of nuScenes' field of view: 1266 pixels of focal length at a width of 1600.
        focal = 1266 / 1600 * width
        sample.intrinsics = torch.tensor([[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]])
        if find_transform(pipeline, 'DrawPhotometric') is not None:
            sample.photometric = torch.tensor([8.0, 1.2, 1.2, 4.0, 1.0])  # every step of the distortion runs
        dtype = torch.uint8 if normalized is None else torch.float32
        return dict(inputs=torch.zeros(3, height, width, dtype=dtype), data_samples=sample)

    @classmethod
    def host_bytes(cls, config: Mapping) -> dict[str, int]:
        """Return what a loader process holds per sample: the decoded 1600x900 image as BGR and RGB, and the result."""
        height, width = image_size(config['pipeline'], cls.__name__)
        return dict(sample=2 * 1600 * 900 * 3 + 2 * height * width * 3)

    def find_sources(self, named: Any) -> list[FoundSource]:
        """Return the key frames of a nuScenes folder; of anything else nothing, as it is pictures."""
        if not isinstance(named, str | Path) or not Path(named).is_dir() or not is_root(Path(named)):
            return []
        return [
            FoundSource(str(frame.path), str(frame.path), f'{frame.path.name}', (str(frame.path),))
            for frame in self._cameras.frames(Path(named))
        ]

    def prepare_predict(self, options: Mapping[str, Any], trained: Mapping[str, Any], metrics: Sequence) -> None:
        """Take the camera matrices; see :mod:`mmopt.datasets.common.cut_source`."""
        del trained, metrics  # nothing of them changes what is predicted
        self._cameras = Cameras(options)

    def predict_info(self, source: Source) -> dict:
        """Return what the test pipeline starts from: a picture and its camera matrix."""
        info = picture_info(source)
        size = info['img'].shape[:2] if 'img' in info else picture_size(info['img_path'])
        return info | dict(intrinsics=self._cameras.matrix(info['img_path'], size))

    def to_result(self, sample: DataSample, source: Source) -> BEVResult:
        """Return the map that was predicted for a picture."""
        size = tuple(sample.get('ori_shape')[:2])
        intrinsics_33 = self._cameras.matrix(sample.get('img_path') or '', size)
        meta = self.metainfo
        load: Callable[[], np.ndarray] = partial(read_picture, self, source)
        if isinstance(source, np.ndarray):  # read before: nothing tells the matrix of a picture without a file
            load = partial(_to_rgb, source)
        return BEVResult.of_sample(sample, intrinsics_33, meta['classes'], meta['palette'], load)

    def draw(self, sample: DataSample, image: Tensor | np.ndarray) -> np.ndarray:
        """Draw camera image, prediction (``pred_bits``, if there is one) and ground truth side by side."""
        height, width = sample.ori_shape[:2]
        truth_MZX = decode_label_bits(sample.label_bits).cpu().numpy()
        return draw_bev_sample(
            to_uint8_image(image, sample),
            truth_MZX[:-1],
            truth_MZX[-1],
            decode_label_bits(sample.pred_bits)[:-1].cpu().numpy() if 'pred_bits' in sample else None,
            title=Path(sample.img_path).stem,
            classes=self.metainfo['classes'],
            palette=self.metainfo['palette'],
            aspect=width / height,
        )


def _to_rgb(picture: np.ndarray) -> np.ndarray:
    return picture_info(picture)['img']


def _require(holds: bool, lonely: Iterable[str], kind: str, place: Path, other: Path) -> None:
    if not holds:
        lonely = sorted(lonely)
        named = ', '.join(lonely[:3]) + (', ...' if len(lonely) > 3 else '')
        raise DataError(
            f'{len(lonely)} {kind}{"s" if len(lonely) > 1 else ""} in {place} without an entry in {other}: {named}. '
            'Make the missing ones or move these away.'
        )
