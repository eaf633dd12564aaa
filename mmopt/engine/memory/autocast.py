"""CUDA's autocast rules on the simulated GPU.

Which operators run in half, in float32 or in the widest type of their arguments is read from the macros of the torch
that is installed (``include/ATen/autocast_mode.h``), so it is never out of date. The kernels sit in the dispatcher:
functional calls, methods, modules and operators inside composites are caught alike, as on a GPU.

The casts of weights are cached until autocast ends, as torch does: leaves of float32 that need a gradient.
"""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmopt.engine.memory.device import DEVICE_TYPE

__all__ = ['Policies', 'install_autocast', 'parse_policies']

HEADER = 'include/ATen/autocast_mode.h'
_SECTIONS = dict(
    lower='AT_FORALL_LOWER_PRECISION_FP',
    fp32='AT_FORALL_FP32',
    fp32_dtype='AT_FORALL_FP32_SET_OPT_DTYPE',
    promote='AT_FORALL_PROMOTE',
)
# Signatures of their own, see AT_FORALL_DIFFERENT_REDISPATCH_SIGNATURE: they get a dtype appended.
_APPEND_DTYPE = ('norm.Scalar', 'norm.ScalarOpt_dim')

Policies = dict[str, list[str]]
"""Operator names (``name`` or ``name.overload``) by policy: lower, fp32, fp32_dtype, promote."""


def parse_policies(header: str | None = None) -> Policies:
    """Read the operator lists.

    Args:
        header: Text of the header; None reads the installed torch's.

    Returns:
        The lists.

    Raises:
        RuntimeError: If a macro is not there, or empty: torch has changed, and guesses would be wrong silently.
    """
    if header is None:
        path = Path(torch.__file__).parent / HEADER
        if not path.is_file():
            raise RuntimeError(f'{path} is missing, which lists what autocast does: install torch from its wheel.')
        header = path.read_text(encoding='utf-8')
    policies = {}
    for policy, macro in _SECTIONS.items():
        found = re.search(rf'#define {macro}\(_\)((?:[^\n]*\\\n)+[^\n]*)', header)
        names = re.findall(r'\b_\(\s*(\w+)\s*(?:,\s*(\w+)\s*)?\)', found[1]) if found else []
        if not names:
            raise RuntimeError(f'torch {torch.__version__}: {HEADER} has no macro {macro} that mmopt can read.')
        policies[policy] = [f'{name}.{overload}' if overload else name for name, overload in names]
    return policies


class _CastCache:
    """Half-precision copies of weights that live until autocast ends."""

    def __init__(self) -> None:
        self.copies: dict[int, tuple[Tensor, Tensor]] = {}
        self.library: torch.library.Library | None = None
        """Kept alive: a library undoes its registrations when it is collected."""

    def clear(self) -> None:
        self.copies.clear()

    def cast(self, value: Any, dtype: torch.dtype) -> Any:
        """Cast what autocast would cast: floating tensors of the device, double excepted."""
        if isinstance(value, list | tuple):
            return type(value)(self.cast(item, dtype) for item in value)
        if not _is_eligible(value) or value.dtype is dtype:
            return value
        cachable = (
            dtype is torch.get_autocast_dtype(DEVICE_TYPE)
            and value.dtype is torch.float32
            and value.requires_grad
            and value.is_leaf
            and not value._is_view()
            and torch.is_autocast_cache_enabled()
        )
        if not cachable:
            return value.to(dtype)
        if id(value) not in self.copies:
            # The weight is kept beside its copy: its id must not be another tensor's meanwhile.
            self.copies[id(value)] = (value, value.to(dtype))
        return self.copies[id(value)][1]


def _is_eligible(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.device.type == DEVICE_TYPE
        and value.is_floating_point()
        and value.dtype is not torch.float64
    )


def _widest(args: Any, current: torch.dtype) -> torch.dtype:
    for value in args:
        if isinstance(value, list | tuple):
            current = _widest(value, current)
        elif _is_eligible(value) and value.dtype is torch.float32:
            current = torch.float32
    return current


def install_autocast(policies: Policies | None = None) -> _CastCache:
    """Give the simulated GPU CUDA's rules; once per process.

    Args:
        policies: From :func:`parse_policies`.

    Returns:
        The cache of casts; it empties itself when autocast ends.
    """
    policies = parse_policies() if policies is None else policies
    cache = _CastCache()
    library = torch.library.Library('aten', 'IMPL', 'AutocastPrivateUse1')
    makers = dict(lower=_lower, fp32=_fp32, fp32_dtype=_fp32_dtype, promote=_promote)
    for policy, names in policies.items():
        for name in names:
            library.impl(name, makers[policy](_operator(name), cache))
    for name in _APPEND_DTYPE:
        library.impl(name, _append_dtype(_operator(name)))
    cache.library = library
    clear = torch.clear_autocast_cache

    def clear_both() -> None:
        cache.clear()
        clear()

    torch.clear_autocast_cache = clear_both
    return cache


def _operator(name: str) -> Any:
    packet, _, overload = name.partition('.')
    return getattr(getattr(torch.ops.aten, packet), overload or 'default')


def _without_autocast() -> Any:
    keys: Any = torch._C.DispatchKey
    return torch._C._ExcludeDispatchKeyGuard(torch._C.DispatchKeySet(keys.AutocastPrivateUse1))


def _lower(operator: Any, cache: _CastCache) -> Callable:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        dtype = torch.get_autocast_dtype(DEVICE_TYPE)
        with _without_autocast():
            cast = [cache.cast(value, dtype) for value in args]
            return operator(*cast, **{name: cache.cast(value, dtype) for name, value in kwargs.items()})

    return kernel


def _fp32(operator: Any, cache: _CastCache) -> Callable:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        with _without_autocast():
            cast = [cache.cast(value, torch.float32) for value in args]
            return operator(*cast, **{name: cache.cast(value, torch.float32) for name, value in kwargs.items()})

    return kernel


def _fp32_dtype(operator: Any, cache: _CastCache) -> Callable:
    del cache

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with _without_autocast():
            if not _is_eligible(args[0]):
                return operator(*args, **kwargs)
            names = [argument.name for argument in operator._schema.arguments]
            given = dict(zip(names, args, strict=False)) | kwargs
            given['dtype'] = given.get('dtype') or torch.float32
            if operator in _SOFTMAX and args[0].dtype is torch.float16 and given['dtype'] is torch.float32:
                # On CUDA one kernel reads half and writes float32; elsewhere a float32 copy of the input would appear.
                return _SOFTMAX[operator](args[0], given['dim'], True)
            return operator(**given)

    return kernel


_SOFTMAX = {
    torch.ops.aten.softmax.int: torch.ops.aten._softmax.default,
    torch.ops.aten.log_softmax.int: torch.ops.aten._log_softmax.default,
}


def _append_dtype(operator: Any) -> Callable:
    overload = {'Scalar': 'ScalarOpt_dtype', 'ScalarOpt_dim': 'ScalarOpt_dim_dtype'}[operator._overloadname]
    redispatch = getattr(torch.ops.aten.norm, overload)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        with _without_autocast():
            if not _is_eligible(args[0]):
                return operator(*args, **kwargs)
            names = [argument.name for argument in operator._schema.arguments]
            defaults = {arg.name: arg.default_value for arg in operator._schema.arguments if arg.has_default_value()}
            given = defaults | dict(zip(names, args, strict=False)) | kwargs
            return redispatch(*[given[name] for name in names], dtype=torch.float32)

    return kernel


def _promote(operator: Any, cache: _CastCache) -> Callable:
    def kernel(*args: Any, **kwargs: Any) -> Any:
        dtype = _widest([*args, *kwargs.values()], torch.get_autocast_dtype(DEVICE_TYPE))
        with _without_autocast():
            cast = [cache.cast(value, dtype) for value in args]
            return operator(*cast, **{name: cache.cast(value, dtype) for name, value in kwargs.items()})

    return kernel
