"""Names that NumPy has dropped: ``np.int``, ``np.float`` and their like, given while code of that time runs."""

import builtins
from typing import Any

import numpy as np
from mmengine.logging import print_log

__all__ = ['install_numpy_names']

_ALIASES: dict[str, Any] = {
    **{name: getattr(builtins, name) for name in ('int', 'float', 'object', 'complex', 'str', 'bool')},
    'bool8': np.bool_,
    'int0': np.intp,
    'uint0': np.uintp,
    'object0': np.object_,
    'str0': np.str_,
    'bytes0': np.bytes_,
    'cfloat': np.complex128,
    'longfloat': np.longdouble,
    'singlecomplex': np.complex64,
    'longcomplex': np.clongdouble,
    'sctypes': {
        'int': [np.int8, np.int16, np.int32, np.int64],
        'uint': [np.uint8, np.uint16, np.uint32, np.uint64],
        'float': [np.float16, np.float32, np.float64, np.longdouble],
        'complex': [np.complex64, np.complex128, np.clongdouble],
        'others': [bool, object, bytes, str, np.void],
    },
    'find_common_type': lambda array_types, scalar_types: np.result_type(*array_types, *scalar_types),
    'unicode': str,
    'long': int,
    'float_': np.float64,
    'complex_': np.complex128,
    'unicode_': np.str_,
    'string_': np.bytes_,
    'NaN': np.nan,
    'NAN': np.nan,
    'Inf': np.inf,
    'Infinity': np.inf,
    'infty': np.inf,
    'PINF': np.inf,
    'NINF': -np.inf,
    'PZERO': 0.0,
    'NZERO': -0.0,
    'round_': np.round,
    'product': np.prod,
    'cumproduct': np.cumprod,
    'sometrue': np.any,
    'alltrue': np.all,
    'in1d': np.isin,
    'row_stack': np.vstack,
    'trapz': getattr(np, 'trapezoid', None),
    'asfarray': lambda a, dtype=np.float64: np.asarray(a, dtype=dtype),
    'asscalar': lambda a: a.item(),
    'mat': np.asmatrix,
    'msort': lambda a: np.sort(a, axis=0),
}
_said: list[str] = []


def install_numpy_names() -> None:
    """Answer for the old names; the first that is asked for says so in a line. A second time changes nothing."""
    before = np.__getattr__
    if getattr(before, 'is_mmcv1', False):
        return

    def look_up(name: str) -> Any:
        if _ALIASES.get(name) is None:
            return before(name)
        if not _said:
            print_log(
                f"np.{name} and NumPy's other old names, gone since 1.24 or 2.0, stand for today's while code of mmcv "
                '1.x runs.',
                logger='current',
            )
        _said.append(name)
        setattr(np, name, _ALIASES[name])
        return _ALIASES[name]

    look_up.is_mmcv1 = True  # type: ignore[attr-defined]  # how a second time knows
    np.__getattr__ = look_up  # type: ignore[method-assign]  # what NumPy asks for names it has not
