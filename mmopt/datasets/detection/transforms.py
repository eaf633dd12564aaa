"""Further steps of a detection pipeline: pairs of images, flip, colors, packing."""

from collections.abc import Sequence

import cv2
import numpy as np

from mmopt.datasets.common.decode import decode_file
from mmopt.datasets.common.transforms import pack_inputs
from mmopt.registry import TRANSFORMS
from mmopt.utils.errors import DataError

__all__ = ['DrawHSV', 'LoadImagePair', 'PackDetection', 'RandomFlipBoxes']


@TRANSFORMS.register_module()
class LoadImagePair:
    """Load ``img_path`` and ``pair_path`` as one image of six channels, RGB and RGB.

    The second image takes the size of the first. Sets what ``LoadImageFromFile`` sets. An image of six channels that is
    there already (``results['img']``, of a prediction) is taken instead of the files.
    """

    def __call__(self, results: dict) -> dict:
        if 'img' in results:
            height, width = results['img'].shape[:2]
            return results | dict(channel_order='rgb', img_shape=(height, width), ori_shape=(height, width))
        if 'pair_path' not in results:
            raise ValueError(
                f'LoadImagePair: {results["img_path"]} has no pair_file_name in the json; '
                '`prepare_fred.py` writes pairs into fusion_*.json.'
            )
        views = [
            cv2.cvtColor(decode_file(results[key], cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
            for key in ('img_path', 'pair_path')
        ]
        height, width = views[0].shape[:2]
        if views[1].shape != views[0].shape:
            views[1] = cv2.resize(views[1], (width, height), interpolation=cv2.INTER_AREA)
        img_HW6 = np.concatenate(views, axis=2)
        return results | dict(img=img_HW6, channel_order='rgb', img_shape=(height, width), ori_shape=(height, width))


@TRANSFORMS.register_module()
class RandomFlipBoxes:
    """Mirror image and boxes left to right."""

    def __init__(self, prob: float = 0.5) -> None:
        self.prob = prob

    def __call__(self, results: dict) -> dict:
        if results['rng'].random() >= self.prob:
            return results
        img_HWC, boxes_G4 = results['img'], results['boxes']
        mirrored_G4 = boxes_G4.copy()
        mirrored_G4[:, [0, 2]] = img_HWC.shape[1] - boxes_G4[:, [2, 0]]
        return results | dict(img=np.ascontiguousarray(img_HWC[:, ::-1]), boxes=mirrored_G4)


@TRANSFORMS.register_module()
class DrawHSV:
    """Draw changes of hue, saturation and value; the model's data preprocessor makes them, on the device.

    Sets ``photometric`` (see :mod:`mmopt.ops.photometric`). Of a pair of images only the first is changed.

    Args:
        hue: Largest turn, as a share of the color circle's half.
        saturation: The factor lies within 1 +- this.
        value: Likewise.
    """

    def __init__(self, hue: float = 0.015, saturation: float = 0.7, value: float = 0.4) -> None:
        self.gains = np.array([hue, saturation, value])

    def __call__(self, results: dict) -> dict:
        hue, saturation, value = results['rng'].uniform(-self.gains, self.gains)
        # Hue counts in units of 2 degrees: 90 are half a circle.
        results['photometric'] = np.array([0.0, 1 + value, 1 + saturation, 90 * hue, 1.0], np.float32)
        results['fields'].append('photometric')
        return results


@TRANSFORMS.register_module()
class PackDetection:
    """Pack image and boxes; in test mode the truth in pixels of the file as well.

    Args:
        meta_keys: Further keys to keep in the metainfo.

    Raises:
        DataError: If the file has another size than the json says, whose boxes then lie elsewhere.
    """

    def __init__(self, meta_keys: Sequence[str] = ()) -> None:
        self.meta_keys = ('img_id', 'letterbox', 'is_mosaic', 'is_mixed', *meta_keys)

    def __call__(self, results: dict) -> dict:
        # A picture that is to be predicted is in no json.
        if 'json_shape' in results and tuple(results['ori_shape']) != tuple(results['json_shape']):
            (height, width), listed = results['ori_shape'], results['json_shape']
            raise DataError(
                f'{results["img_path"]}: the file is {height}x{width} (height x width), the json says '
                f'{listed[0]}x{listed[1]}: its boxes are for another size. Correct the json or the file.'
            )
        results['fields'] += ['boxes', 'labels']
        if results['test_mode']:
            results['fields'].append('truth')
        results['img_shape'] = results['img'].shape[:2]
        return pack_inputs(results, self.meta_keys)
