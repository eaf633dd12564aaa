"""The module that stands where mmcv's compiled extension would: `mmcv._ext`.

mmcv-lite has all Python sides of `mmcv.ops` and lacks only what they call. Each of them asks at its import whether the
extension has its functions, so every name exists here; what we do not have refuses when it is called.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from importlib.abc import Loader
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

import mmcv
import torch
from torch import Tensor

from mmopt.mmcv1.extension.boxes import BOX_FUNCTIONS
from mmopt.mmcv1.extension.convolutions import CONVOLUTION_FUNCTIONS
from mmopt.mmcv1.extension.layers import LAYER_FUNCTIONS
from mmopt.mmcv1.extension.losses import LOSS_FUNCTIONS
from mmopt.mmcv1.extension.points import POINT_FUNCTIONS
from mmopt.mmcv1.extension.regions import REGION_FUNCTIONS

__all__ = ['EXTENSION_FUNCTIONS', 'install_extension']

_NAME = 'mmcv._ext'

# Our functions under the extension's names, as `mmcv.ops` calls them: results are written into arguments.
EXTENSION_FUNCTIONS: dict[str, Callable] = (
    BOX_FUNCTIONS
    | CONVOLUTION_FUNCTIONS
    | LAYER_FUNCTIONS
    | LOSS_FUNCTIONS
    | POINT_FUNCTIONS
    | REGION_FUNCTIONS
    # What an environment report asks the extension about itself.
    | {name: lambda: 'none: ops in PyTorch by mmopt' for name in ('get_compiler_version', 'get_compiling_cuda_version')}
)


def install_extension() -> bool:
    """Put our ops where `mmcv.ops` looks for its compiled extension, unless mmcv has a real one.

    Call it before `mmcv.ops` or `mmcv.cnn` is imported: what failed to import there is not tried again. A second call
    changes nothing.

    Returns:
        Whether `mmcv.ops` runs on our ops; False where a compiled extension is installed, which stays.
    """
    loaded = sys.modules.get(_NAME)
    if loaded is None and not _is_compiled():
        loader = _Loader()
        loaded = importlib.util.module_from_spec(ModuleSpec(_NAME, loader, origin='mmopt'))
        loader.exec_module(loaded)
        sys.modules[_NAME] = loaded
        mmcv._ext = loaded  # what an import of a submodule does
    return isinstance(loaded, _Extension)


def _is_compiled() -> bool:
    return PathFinder.find_spec(_NAME, mmcv.__path__) is not None


class _Extension(ModuleType):
    """Has every name: ours, and a refusal for each other."""

    def __getattr__(self, name: str) -> Callable:
        # Names of Python's own protocols must stay missing: `inspect` and `copy` ask for them.
        if name.startswith('__'):
            raise AttributeError(f'module {_NAME!r} has no attribute {name!r}')
        return _refusal(name)

    def __dir__(self) -> Iterable[str]:
        return sorted(EXTENSION_FUNCTIONS)


class _Loader(Loader):
    """Makes the module; a spec without a loader counts as a missing extension in `mmcv.utils.check_ops_exist`."""

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Extension(spec.name, 'Ops of mmcv in PyTorch, by mmopt.')

    def exec_module(self, module: ModuleType) -> None:
        for name, function in EXTENSION_FUNCTIONS.items():
            setattr(module, name, _as_kernel(function))


def _as_kernel(function: Callable) -> Callable:
    """Run it as compiled code would: outside of autograd, and in the precision it chooses itself."""

    @functools.wraps(function)
    def kernel(*args: Any, **kwargs: Any) -> Any:
        tensor = next((value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)), None)
        device_type = 'cpu' if tensor is None else tensor.device.type
        has_autocast = torch.amp.is_autocast_available(device_type)
        with torch.no_grad(), torch.autocast(device_type, enabled=False) if has_autocast else nullcontext():
            return function(*args, **kwargs)

    return kernel


def _refusal(name: str) -> Callable:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise NotImplementedError(
            f'mmcv.ops called {name!r} of its compiled extension, which mmcv-lite lacks; mmopt has the ops of '
            'docs/migrating_from_mmcv1.md ("Compiled ops") in its place, and this one is not among them. Install the '
            'full mmcv, built for this PyTorch, in place of mmcv-lite (pip uninstall mmcv-lite; pip install mmcv), or '
            'configure the model without this op.'
        )

    refuse.__name__ = refuse.__qualname__ = name
    return refuse
