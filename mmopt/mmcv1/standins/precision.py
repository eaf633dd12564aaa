"""``auto_fp16`` and ``force_fp32`` as mmcv 1.x means them, in whichever half precision the run has.

They act on modules whose ``fp16_enabled`` is set, and call through otherwise. mmcv 1.x says half and means float16;
here it is what autocast is set to, so that under bf16, too, the regions of ``force_fp32`` see float32.
"""

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ['auto_fp16', 'cast_tensor_type', 'force_fp32', 'patch_forward_method', 'patch_norm_fp32', 'wrap_fp16_model']


def cast_tensor_type(inputs: Any, src_type: torch.dtype, dst_type: torch.dtype) -> Any:
    """Change the type of tensors, in any nesting of dicts, lists and tuples.

    Args:
        inputs: What holds them; other things stay.
        src_type: Tensors of this type only.
        dst_type: The new one.

    Returns:
        The same nesting.
    """
    if isinstance(inputs, Tensor):
        return inputs.to(dst_type) if inputs.dtype == src_type else inputs
    if isinstance(inputs, nn.Module | str):
        return inputs
    if isinstance(inputs, Mapping):
        kind: Any = type(inputs)
        return kind({key: cast_tensor_type(value, src_type, dst_type) for key, value in inputs.items()})
    if isinstance(inputs, list | tuple):
        parts = [cast_tensor_type(item, src_type, dst_type) for item in inputs]
        return type(inputs)(*parts) if hasattr(inputs, '_fields') else type(inputs)(parts)
    return inputs


def _device_type(values: Iterable[Any]) -> str:
    for value in values:
        if isinstance(value, Tensor):
            return value.device.type
        if isinstance(value, list | tuple) and value and isinstance(value[0], Tensor):
            return value[0].device.type
    return 'cuda' if torch.cuda.is_available() else 'cpu'


def _cast_named(
    names: list[str], apply_to: Iterable[str] | None, args: tuple, kwargs: dict, cast: Callable[[Any], Any]
) -> tuple[list, dict]:
    """Cast the arguments that are named, of those that are given."""
    if apply_to is None:
        return [cast(value) for value in args], {key: cast(value) for key, value in kwargs.items()}
    wanted = set(apply_to)
    named = [name in wanted for name in names] + [False] * len(args)  # what *args takes has no name
    new_args = [cast(value) if is_wanted else value for value, is_wanted in zip(args, named, strict=False)]
    return new_args, {key: cast(value) if key in wanted else value for key, value in kwargs.items()}


def _decorator(
    *, half_inside: bool, apply_to: Iterable[str] | None, casts_back: bool, supported_types: tuple[type, ...]
) -> Callable[[Callable], Callable]:
    def decorate(method: Callable) -> Callable:
        spec = inspect.getfullargspec(method)
        names = spec.args[1:]  # without self

        @functools.wraps(method)
        def run(*args: Any, **kwargs: Any) -> Any:
            if not isinstance(args[0], supported_types):
                raise TypeError(
                    f'@{"auto_fp16" if half_inside else "force_fp32"} can only be used to decorate the method of '
                    f'{supported_types}'
                )
            if not getattr(args[0], 'fp16_enabled', False):
                return method(*args, **kwargs)
            device_type = _device_type([*args[1:], *kwargs.values()])
            half = torch.get_autocast_dtype(device_type)
            source, to = (torch.float32, half) if half_inside else (half, torch.float32)
            cast = functools.partial(cast_tensor_type, src_type=source, dst_type=to)
            new_args, new_kwargs = _cast_named(names, apply_to, args[1:], kwargs, cast)
            with torch.autocast(device_type, dtype=half, enabled=half_inside):
                output = method(args[0], *new_args, **new_kwargs)
            return cast_tensor_type(output, to, source) if casts_back else output

        return run

    return decorate


def auto_fp16(
    apply_to: Iterable[str] | None = None, out_fp32: bool = False, supported_types: tuple[type, ...] = (nn.Module,)
) -> Callable[[Callable], Callable]:
    """Let a method compute in half precision while its module's ``fp16_enabled`` is set.

    Args:
        apply_to: Arguments whose float32 tensors become half; None: all that are given.
        out_fp32: Make half tensors of the output float32.
        supported_types: What ``self`` may be.

    Returns:
        The decorator.
    """
    return _decorator(half_inside=True, apply_to=apply_to, casts_back=out_fp32, supported_types=supported_types)


def force_fp32(apply_to: Iterable[str] | None = None, out_fp16: bool = False) -> Callable[[Callable], Callable]:
    """Let a method compute in float32 while its module's ``fp16_enabled`` is set.

    Args:
        apply_to: Arguments whose half tensors become float32; None: all that are given.
        out_fp16: Make float32 tensors of the output half.

    Returns:
        The decorator.
    """
    return _decorator(half_inside=False, apply_to=apply_to, casts_back=out_fp16, supported_types=(nn.Module,))


def wrap_fp16_model(model: nn.Module, enabled: bool = True) -> None:
    """Set ``fp16_enabled`` on the modules that have it.

    Args:
        model: Its modules are all looked at.
        enabled: What it is set to.
    """
    for module in model.modules():
        if hasattr(module, 'fp16_enabled'):
            module.fp16_enabled = enabled  # type: ignore[assignment]  # a plain attribute of theirs


def patch_norm_fp32(module: nn.Module) -> nn.Module:
    """Return the module: under autocast norms compute in float32 as they are."""
    return module


def patch_forward_method(
    func: Callable, src_type: torch.dtype, dst_type: torch.dtype, convert_output: bool = True
) -> Callable:
    """Return a function that runs another one in another type.

    Args:
        func: The function.
        src_type: Type of its inputs.
        dst_type: Type to run in.
        convert_output: Change the output back.

    Returns:
        The new function.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        output = func(*cast_tensor_type(args, src_type, dst_type), **cast_tensor_type(kwargs, src_type, dst_type))
        return cast_tensor_type(output, dst_type, src_type) if convert_output else output

    return run
