"""The demo data sets that ``tools/datasets/make_demo.py`` can make, by name."""

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mmopt.utils.errors import UserError
from mmopt.utils.terminal import nearest

__all__ = ['DEMOS', 'Demo', 'find_demo']


@dataclass(frozen=True)
class Demo:
    """One demo data set.

    Attributes:
        module: Imported on use; its ``make_demo(out_dir, num_train, num_val, image_size, seed, num_workers=, force=)``
            makes the data. What is left out of the call takes the module's defaults.
        config: What to train on it.
        what: One line for the list of demos.
    """

    module: str
    config: str
    what: str

    def make(self, out_dir: str, **options: Any) -> Any:
        """Make the data set; options that are None are left out.

        Args:
            out_dir: The data root to make.
            **options: Of the module's ``make_demo``.

        Returns:
            What was made.

        Raises:
            UserError: If the set has no such option.
        """
        make: Callable = importlib.import_module(self.module).make_demo
        given = {key: value for key, value in options.items() if value is not None}
        for key in given.keys() - inspect.signature(make).parameters.keys():
            raise UserError(f'this demo ({self.what}) has no {key}: leave --{key.replace("_", "-")} out.')
        return make(out_dir, **given)


DEMOS = dict(
    nuscenes=Demo(
        'mmopt.datasets.bev.demo',
        'configs/demo/lss_swin_nuscenes.py',
        "a street through nuScenes' front camera, with 14 bird's-eye-view maps",
    ),
    mabe=Demo(
        'mmopt.datasets.tad.demo',
        'configs/demo/tad_v7_mabe.py',
        "mice that attack, chase, rear and sniff, in the layout of Kaggle's MABe challenge",
    ),
    cityscapes=Demo(
        'mmopt.datasets.segmentation.demo',
        'configs/demo/bisenetv2_cityscapes.py',
        'the same street, labeled pixel by pixel in the layout of Cityscapes',
    ),
    fred=Demo(
        'mmopt.datasets.detection.demo',
        'configs/demo/yolov5_fred_rgb.py',
        "drones over moving backgrounds, as images and event frames, in FRED's raw layout",
    ),
    driver=Demo(
        'mmopt.datasets.video.demo',
        'configs/demo/video_conv3d_driver.py',
        'drivers who look in nine directions, filmed by three cameras, with keypoints',
    ),
)  # fmt: skip


def find_demo(name: str) -> Demo:
    """Look up a demo.

    Returns:
        The demo.

    Raises:
        UserError: If there is none of this name.
    """
    if name not in DEMOS:
        hint = nearest(name, DEMOS)
        suggestion = f' Did you mean {hint[0]}?' if hint else ''
        raise UserError(f'unknown demo {name!r}; known: {", ".join(sorted(DEMOS))}.{suggestion}')
    return DEMOS[name]
