"""A package as they were written for mmcv 1.x, for the tests of the layer: none of its lines knows of mmopt."""

import mmcv
from mmcv.utils import digit_version

MMCV_MIN = '1.3.13'
MMCV_MAX = '1.6.0'

assert digit_version(MMCV_MIN) <= digit_version(mmcv.__version__) < digit_version(MMCV_MAX), (
    f'MMCV=={mmcv.__version__} is used but incompatible.'
)
