"""What ``mmcv.utils.testing`` had, for tests of repositories."""

import shlex
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

__all__ = [
    'assert_attrs_equal',
    'assert_dict_contains_subset',
    'assert_dict_has_keys',
    'assert_is_norm_layer',
    'assert_keys_equal',
    'assert_params_all_zeros',
    'check_python_script',
]


def check_python_script(cmd: str) -> None:
    """Run a command line of Python and let it fail; in a process of its own."""
    subprocess.run([sys.executable, *shlex.split(cmd)[1:]], check=True)


def assert_dict_contains_subset(whole: Mapping, part: Mapping) -> bool:
    """Tell whether one dict has all entries of another."""
    return all(key in whole and whole[key] == value for key, value in part.items())


def assert_dict_has_keys(obj: Mapping, expected_keys: Iterable) -> bool:
    """Tell whether a dict has all these keys."""
    return set(expected_keys) <= set(obj)


def assert_keys_equal(result_keys: Iterable, target_keys: Iterable) -> bool:
    """Tell whether two collections have the same keys."""
    return set(result_keys) == set(target_keys)


def assert_attrs_equal(obj: Any, expected_attrs: Mapping[str, Any]) -> bool:
    """Tell whether an object has these attributes with these values."""
    return all(hasattr(obj, name) and getattr(obj, name) == value for name, value in expected_attrs.items())


def assert_is_norm_layer(module: nn.Module) -> bool:
    """Tell whether a module normalizes."""
    return isinstance(module, _BatchNorm | _InstanceNorm | nn.GroupNorm | nn.LayerNorm)


def assert_params_all_zeros(module: nn.Module) -> bool:
    """Tell whether weight and bias are zero."""
    tensors = [getattr(module, name, None) for name in ('weight', 'bias')]
    return all(not bool(value.any()) for value in tensors if value is not None)
