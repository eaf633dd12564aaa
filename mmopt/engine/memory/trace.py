"""Record every allocation and free of a training step, with who asked for it and when.

The recorder is a dispatch mode: it sees what operators return, not what kernels take and give back inside. It works
on fake tensors of the simulated GPU and, for checks, on real tensors of the CPU.
"""

import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from mmengine.structures import BaseDataElement
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from mmopt.engine.memory.values import KnownValues

__all__ = ['Allocation', 'Recorder', 'Trace']

PHASES = ('setup', 'forward', 'backward', 'step')


@dataclass(slots=True)
class Allocation:
    """One storage.

    Attributes:
        size: Bytes as requested.
        phase: ``setup``, ``forward``, ``backward`` or ``step``.
        module: Name of the module whose forward asked for it; empty outside of the model.
        operator: Name of the operator.
        kind: ``weights``, ``gradients``, ``optimizer``, ``inputs``, ``workspace`` or empty (activations and
            temporaries, told apart by the phase).
        is_copied: Whether it belongs to the stream of copies, whose blocks serve no other stream.
    """

    size: int
    phase: str
    module: str
    operator: str
    kind: str = ''
    is_copied: bool = False


@dataclass
class Trace:
    """A recorded run.

    Attributes:
        events: ``(number, bytes)`` for an allocation, ``(number, -1)`` for its free, in order.
        marks: Where something began: ``(place in events, name)``.
    """

    allocations: list[Allocation]
    events: list[tuple[int, int]]
    marks: list[tuple[int, str]]

    def repeated(self, start: int) -> 'Trace':
        """Append what happened since ``start`` once more: the second step of a run, at no cost.

        A step asks for the same as the one before it, except for what stays (the optimizer's state, caches of the
        model): only what was both asked for and freed since ``start`` is repeated.

        Args:
            start: Place in ``events``.

        Returns:
            A trace with both.
        """
        born = {number for number, size in self.events[start:] if size >= 0}
        passing = {number for number, size in self.events[start:] if size < 0} & born
        allocations, events = list(self.allocations), list(self.events)
        copy_of: dict[int, int] = {}
        for number, size in self.events[start:]:
            if number not in passing:
                continue
            if size >= 0:
                copy_of[number] = len(allocations)
                allocations.append(self.allocations[number])
            events.append((copy_of[number], size))
        return Trace(allocations, events, [*self.marks, (len(self.events), 'repeated')])

    def peak(self) -> tuple[int, list[int]]:
        """Find the moment at which most bytes are in use, as requested (unrounded).

        Returns:
            The bytes, and the numbers of the allocations that live then.
        """
        total = best = 0
        best_place = -1
        for place, (number, size) in enumerate(self.events):
            total += size if size >= 0 else -self.allocations[number].size
            if total > best:
                best, best_place = total, place
        live: dict[int, None] = {}
        for number, size in self.events[: best_place + 1]:
            if size >= 0:
                live[number] = None
            else:
                del live[number]
        return best, list(live)


Workspace = Callable[[Any, Sequence[Any], Any], int]
"""(operator, arguments, result) -> bytes that the kernel takes and gives back."""


class Recorder(TorchDispatchMode):
    """Record what lives on one kind of device.

    Args:
        device_type: Storages of this device are recorded.
        values: Runs the operators on fake tensors; None runs them as they are, on real ones.
        workspace: Bytes that a kernel takes for its own use; None: nothing.
    """

    def __init__(self, device_type: str, values: KnownValues | None = None, workspace: Workspace | None = None) -> None:
        super().__init__()
        self.device_type = device_type
        self.values = values
        self.workspace = workspace
        self.trace = Trace([], [], [])
        self.phase = 'setup'
        self.copies = False
        """Whether what is allocated now belongs to the stream of copies."""
        self._modules: list[str] = []
        self._live: dict[int, tuple[int, weakref.ref]] = {}  # storage -> number; the reference must stay alive

    def __torch_dispatch__(self, func: Any, types: Sequence[type], args: tuple = (), kwargs: dict | None = None) -> Any:
        kwargs = kwargs or {}
        if func is torch.ops.prim.device.default:
            return func(*args, **kwargs)
        self._see(args, func)  # what lived before the recorder, e.g. in a cache of the model
        out = func(*args, **kwargs) if self.values is None else self.values.run(func, args, kwargs)
        self._see(out, func)
        if self.workspace is not None and (size := self.workspace(func, args, out)):
            self.take(size, func._schema.name.partition('::')[2])
        return out

    # ---------------------------------------------------------------- recording
    def _see(self, value: Any, func: Any) -> None:
        if isinstance(value, Tensor):
            if value.device.type == self.device_type:
                self._add(value, func)
        elif isinstance(value, list | tuple):
            for item in value:
                self._see(item, func)

    def _add(self, tensor: Tensor, func: Any) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        known = self._live.get(key)
        if known is not None:
            allocation = self.trace.allocations[known[0]]
            if storage.nbytes() > allocation.size:  # resized in place: a new block in place of the old one
                self._free(key, known[0])
            else:
                return
        number = len(self.trace.allocations)
        size = storage.nbytes()
        self.trace.allocations.append(
            Allocation(
                size,
                self.current_phase,
                self._modules[-1] if self._modules else '',
                _name(func),
                'inputs' if self.copies else '',
                self.copies,
            )
        )
        self.trace.events.append((number, size))
        self._live[key] = (number, weakref.ref(storage, partial(self._free, key, number)))

    def _free(self, key: int, number: int, _: object = None) -> None:
        known = self._live.get(key)
        if known is not None and known[0] == number:
            del self._live[key]
            self.trace.events.append((number, -1))

    def take(self, size: int, operator: str, *, keep: bool = False) -> None:
        """Record bytes that no tensor holds: a kernel's workspace.

        Args:
            size: Bytes.
            operator: Who takes them.
            keep: Whether they stay, as a library's workspace does.
        """
        number = len(self.trace.allocations)
        self.trace.allocations.append(
            Allocation(size, self.current_phase, self._modules[-1] if self._modules else '', operator, 'workspace')
        )
        self.trace.events.append((number, size))
        if not keep:
            self.trace.events.append((number, -1))

    @property
    def current_phase(self) -> str:
        """The phase; ``backward`` whenever the autograd engine runs."""
        return 'backward' if torch._C._current_graph_task_id() != -1 else self.phase

    def mark(self, name: str) -> None:
        """Note that something begins here."""
        self.trace.marks.append((len(self.trace.events), name))

    def label(self, tensor: Any, kind: str) -> None:
        """Say what the storages of tensors are for."""
        if isinstance(tensor, Tensor):
            if tensor.device.type == self.device_type:
                known = self._live.get(tensor.untyped_storage()._cdata)
                if known is not None:
                    self.trace.allocations[known[0]].kind = kind
        elif isinstance(tensor, dict):
            for item in tensor.values():
                self.label(item, kind)
        elif isinstance(tensor, BaseDataElement):
            self.label(list(tensor.values()), kind)
        elif isinstance(tensor, list | tuple):
            for item in tensor:
                self.label(item, kind)

    @contextmanager
    def naming_modules(self, model: nn.Module) -> Iterator[None]:
        """Attribute allocations to the modules whose forward runs, and label gradients as they appear."""
        names = {id(module): name for name, module in model.named_modules()}

        def enter(module: nn.Module, args: Any) -> None:
            del args
            name = names.get(id(module))
            self._modules.append(name if name is not None else (self._modules[-1] if self._modules else ''))

        def leave(module: nn.Module, args: Any, out: Any) -> None:
            del module, args, out
            if self._modules:
                self._modules.pop()

        hooks = [
            nn.modules.module.register_module_forward_pre_hook(enter),
            nn.modules.module.register_module_forward_hook(leave, always_call=True),
        ]
        hooks += [
            parameter.register_post_accumulate_grad_hook(lambda p: self.label(p.grad, 'gradients'))
            for parameter in model.parameters()
            if parameter.requires_grad
        ]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()


def _name(func: Any) -> str:
    return func._schema.name.partition('::')[2]
