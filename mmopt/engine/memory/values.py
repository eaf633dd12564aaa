"""Values of small fake tensors, so that code which reads them runs: label counts, indices, switches.

Fake tensors have shapes and no values, and ``.item()``, ``nonzero()`` or ``tensor[mask]`` fail on them. Labels,
anchors, indices and scalars are small: their real values are computed beside the fake ones, on the CPU, as long as
every operand is known. What depends on activations stays unknown; where its value decides about a size, the largest
size is assumed, and the assumption is noted.
"""

import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, DynamicOutputShapeException, FakeTensor

__all__ = ['MAX_ELEMENTS', 'MAX_RANDOM', 'KnownValues', 'forget', 'known_value']

_aten = torch.ops.aten
MAX_ELEMENTS = 1 << 23
"""Larger results are not computed: matching 32 boxes with 1250 anchors in 200 samples has as many."""
MAX_ON_HOST = 1 << 21
"""Larger tensors in host memory are fake."""
MAX_RANDOM = 1 << 14
"""Larger results of random, uninitialized or costly (products, decompositions) operators are not computed."""

_PRODUCTS = {'mm', 'bmm', 'addmm', 'baddbmm', 'convolution', 'linalg_inv_ex', '_linalg_svd', 'native_dropout'}
_UNINITIALIZED = {'empty', 'empty_strided', 'empty_like', 'new_empty', 'new_empty_strided', 'empty_permuted'}
# In place and of no consequence to shapes; fake mode would decompose some of them.
_RANDOM = {'normal_', 'uniform_', 'bernoulli_', 'exponential_', 'random_', 'log_normal_', 'geometric_', 'cauchy_'}
_FAILED = object()
_FINITE_CHECKS = {_aten._amp_foreach_non_finite_check_and_unscale_.default}
_NO_READERS = {'prim::device', 'aten::_local_scalar_dense'}


_NUMBER = 'a number read from an activation is 1, a truth value true'
_SELECTED = 'a mask of activations selects every element'
_LONGEST = 'a text is as long as the targets of its batch, or as there are time steps'


class _Cell:
    """Shared by a value and its views: whether it still holds."""

    __slots__ = ('holds',)

    def __init__(self) -> None:
        self.holds = True


def known_value(tensor: Any) -> Tensor | None:
    """Return the real value of a fake tensor, or None."""
    known = getattr(tensor, '_mmopt_known', None)
    return known[0] if known is not None and known[1].holds else None


def _know(tensor: Any, value: Tensor, cell: _Cell) -> None:
    tensor._mmopt_known = (value, cell)


def forget(tensor: Tensor) -> None:
    """Treat a tensor (and, of a fake one, its views) as unknown from now on."""
    known = getattr(tensor, '_mmopt_known', None)
    if known is not None:
        known[1].holds = False
    elif not isinstance(tensor, FakeTensor):
        cell = _Cell()
        cell.holds = False
        _know(tensor, tensor.detach(), cell)


def _stays_on_host(args: tuple, kwargs: dict) -> bool:
    """Tell whether an operator works on few real numbers in host memory only."""
    if kwargs.get('device') is not None and torch.device(kwargs['device']).type != 'cpu':
        return False
    total, has_tensor = 0, False
    for tensor in _tensors((args, kwargs)):
        if isinstance(tensor, FakeTensor) or hasattr(tensor, '_mmopt_known'):
            return False
        total += tensor.numel()
        has_tensor = True
    sizes = [arg for arg in args if isinstance(arg, list | tuple) and all(isinstance(n, int) for n in arg)]
    if has_tensor:
        # An expansion to a size, repeats: the result may be larger than what it is made of.
        return max([total, *(math.prod(size) for size in sizes)]) <= MAX_ON_HOST
    counts = [abs(arg) for arg in args if isinstance(arg, int | float)]  # arange and linspace
    return max([*(math.prod(size) for size in sizes), *counts], default=0) <= MAX_ON_HOST


class KnownValues:
    """Run operators on fake tensors and, where all operands are known, on their values too.

    Args:
        fake_mode: The mode whose tensors these are.
        real_host: Leave small tensors in host memory real: labels are made and counted there, sample by sample, and
            real operators are fifty times faster than fake ones. Only for traces of another device than the CPU.

    Attributes:
        assumed: How often which assumption was made about a value that is not known.
    """

    def __init__(self, fake_mode: Any, *, real_host: bool = False) -> None:
        self.fake_mode = fake_mode
        self.real_host = real_host
        self.assumed: Counter[str] = Counter()

    def run(self, func: Any, args: tuple, kwargs: dict) -> Any:
        """Run one operator.

        Args:
            func: The operator.
            args: Its arguments; real tensors among them become fake ones with a known value.
            kwargs: Its keyword arguments.

        Returns:
            Fake tensors, or numbers where the operator reads a value.
        """
        if self.real_host and _stays_on_host(args, kwargs):
            with torch._C._DisableTorchDispatch():
                return func(*args, **kwargs)
        given = args
        args, kwargs = self._convert(args), self._convert(kwargs)
        operands = list(_tensors((args, kwargs)))
        values = [known_value(tensor) for tensor in operands]
        all_known = all(value is not None for value in values)
        if func._schema.name.partition('::')[2] in _RANDOM:
            if not all_known or operands[0].numel() > MAX_RANDOM or self._compute(func, args, kwargs) is _FAILED:
                forget(args[0])
            return args[0]
        # The targets of a CTC loss may stay on the host, which fake mode refuses.
        if func._schema.name == 'aten::_ctc_loss':
            return self._assume(func, args, kwargs)
        if func._schema.name == 'aten::_ctc_loss_backward':
            return torch.empty_like(args[1])
        try:
            out = func(*args, **kwargs)
        except (DataDependentOutputException, DynamicOutputShapeException):
            return self._read(func, args, kwargs) if all_known else self._assume(func, args, kwargs)
        if isinstance(out, FakeTensor):
            out.constant = None  # fake mode's own constants would be computed on a device that cannot
        real = _FAILED
        if all_known and self._is_cheap(func, out, operands):
            real = self._compute(func, args, kwargs)
            self._attach(out, real, operands)
        # Checks of gradients are taken to find them finite; any other write that was not followed ends the knowledge.
        if func._schema.is_mutable and real is _FAILED and func not in _FINITE_CHECKS:
            for tensor in [*_written(func, args, kwargs), *_written(func, given, kwargs)]:
                forget(tensor)
            # What was written to in place is what the caller holds, not the fake that stood in for it.
            if given and isinstance(given[0], Tensor) and out is args[0]:
                return given[0]
        return out

    # ---------------------------------------------------------------- values
    def _convert(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return value if isinstance(value, FakeTensor) else self.fake(value)
        if isinstance(value, list | tuple):
            return type(value)([self._convert(item) for item in value])
        if isinstance(value, dict):
            return {key: self._convert(item) for key, item in value.items()}
        return value

    def fake(self, tensor: Tensor) -> FakeTensor:
        """Turn a real tensor into a fake one, with its value if it is small."""
        with torch._C._DisableTorchDispatch():
            real = tensor.detach()
        out = self.fake_mode.from_tensor(tensor)
        out.constant = None
        if real.numel() <= MAX_ELEMENTS and not hasattr(tensor, '_mmopt_known'):
            out._mmopt_known = (real, _Cell())
        return out

    @staticmethod
    def _is_cheap(func: Any, out: Any, operands: list[Tensor]) -> bool:
        name = func._schema.name.partition('::')[2]
        if func._schema.name in _NO_READERS:
            return False
        sizes = [tensor.numel() for tensor in _tensors(out)]
        largest = max([*sizes, *(tensor.numel() for tensor in operands)], default=0)
        if name in _UNINITIALIZED and not any(tensor.is_floating_point() for tensor in _tensors(out)):
            return largest <= MAX_ELEMENTS
        if name in _PRODUCTS or name in _UNINITIALIZED or torch.Tag.nondeterministic_seeded in func.tags:
            return largest <= MAX_RANDOM
        return largest <= MAX_ELEMENTS

    def _compute(self, func: Any, args: tuple, kwargs: dict) -> Any:
        args, kwargs = _real(args), _real(kwargs)
        if kwargs.get('device') is not None:
            kwargs['device'] = torch.device('cpu')
        kwargs.pop('pin_memory', None)
        try:
            with torch._C._DisableTorchDispatch(), torch.no_grad():
                return func(*args, **kwargs)
        except (RuntimeError, NotImplementedError, IndexError, ValueError):
            # No CPU kernel for it, or values that contradict the shapes of an example batch: then it is unknown.
            return _FAILED

    @staticmethod
    def _attach(out: Any, real: Any, operands: list[Any]) -> None:
        cells = {}
        for tensor in operands:
            value, cell = tensor._mmopt_known
            if value.numel():
                cells[value.untyped_storage()._cdata] = cell
        outs, reals = list(_tensors(out)), list(_tensors(real))
        if len(outs) != len(reals):
            return
        for fake, value in zip(outs, reals, strict=True):
            if fake.shape == value.shape and not hasattr(fake, '_mmopt_known'):
                _know(fake, value, cells.get(value.untyped_storage()._cdata) or _Cell())

    # ---------------------------------------------------------------- sizes and numbers that depend on values
    def _read(self, func: Any, args: tuple, kwargs: dict) -> Any:
        real = self._compute(func, args, kwargs)
        if real is _FAILED:
            raise RuntimeError(f'{func} failed on the values of the example batch; check what the example holds.')
        device = next(_tensors((args, kwargs))).device
        return _map(real, lambda value: self._fake_on(value, device))

    def _fake_on(self, value: Tensor, device: torch.device) -> FakeTensor:
        shell: Any = torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device=device)
        shell.constant = None
        if value.numel() <= MAX_ELEMENTS:
            _know(shell, value, _Cell())
        return shell

    def _assume(self, func: Any, args: tuple, kwargs: dict) -> Any:
        name = func._schema.name.partition('::')[2]
        if name in ('_local_scalar_dense', 'is_nonzero'):
            self.assumed[_NUMBER] += 1
            dtype = args[0].dtype
            if dtype is torch.bool:
                # False now and then, or a loop that waits for it would never end.
                return self.assumed[_NUMBER] % 100 != 0
            return 1.0 if dtype.is_floating_point else 1
        if name == 'equal':
            self.assumed['two tensors that are compared are equal'] += 1
            return True
        if name == 'nonzero':
            self.assumed[_SELECTED] += 1
            return torch.empty((args[0].numel(), args[0].dim()), dtype=torch.int64, device=args[0].device)
        if name == 'masked_select':
            self.assumed[_SELECTED] += 1
            return args[0].new_empty(torch.broadcast_shapes(args[0].shape, args[1].shape).numel())
        if name == 'index':
            return func(args[0], self._indices(args[1]))
        if name == '_ctc_loss':
            self.assumed[_LONGEST] += 1
            num_steps, batch = args[0].shape[:2]
            longest = min(args[1].shape[-1], num_steps)  # the targets are padded, or one behind the other
            return args[0].new_empty(batch), args[0].new_empty((batch, num_steps, 2 * longest + 1))
        raise NotImplementedError(
            f'{func} gives a size that depends on activations, and the estimator knows no bound for it.'
        )

    def _indices(self, indices: Any) -> list[Tensor | None]:
        """Turn masks into index tensors: the true places where the mask is known, else all of them."""
        out: list[Tensor | None] = []
        for index in indices:
            if index is None or index.dtype not in (torch.bool, torch.uint8):
                out.append(index)
                continue
            value = known_value(index)
            if value is None:
                self.assumed[_SELECTED] += 1
            with torch._C._DisableTorchDispatch():
                count = index.numel() if value is None else int(value.count_nonzero())
            out += [torch.empty(count, dtype=torch.int64, device=index.device) for _ in range(index.dim())]
        return out


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _tensors(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from _tensors(item)


def _map(value: Any, function: Any) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, list | tuple):
        return tuple(_map(item, function) for item in value)
    return value


def _real(value: Any) -> Any:
    if isinstance(value, Tensor):
        return known_value(value)
    if isinstance(value, list | tuple):
        return type(value)([_real(item) for item in value])
    if isinstance(value, dict):
        return {key: _real(item) for key, item in value.items()}
    return value


def _written(func: Any, args: tuple, kwargs: dict) -> Iterator[Tensor]:
    for place, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            yield from _tensors(args[place] if place < len(args) else kwargs.get(argument.name))
