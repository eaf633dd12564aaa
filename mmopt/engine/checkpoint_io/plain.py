"""Any state as tensors and plain Python, which ``torch.load(weights_only=True)`` reads without a list of exceptions."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from mmengine.logging import HistoryBuffer, MessageHub
from torch import Tensor

__all__ = ['PlainHistory', 'from_device', 'message_hub_state', 'restore_message_hub', 'to_plain']

_DROP = object()
_IS_COPY = '_mmopt_is_copy'


def from_device(state: Any) -> Any:
    """Copy a state to host memory, and mark what was copied: nobody else writes to it, so once is enough.

    Args:
        state: Any nesting of tensors.

    Returns:
        The same nesting; tensors of the host are those of the state, and tensors that share memory still do.
    """
    copies: dict[tuple, Tensor] = {}

    def copied(value: Any) -> Any:
        if isinstance(value, Tensor) and value.device.type != 'cpu':
            key = (value.data_ptr(), value.dtype, value.shape, value.stride())
            if key not in copies:
                copies[key] = value.detach().to('cpu')
                setattr(copies[key], _IS_COPY, True)
            return copies[key]
        if isinstance(value, dict):
            return {key: copied(item) for key, item in value.items()}
        if isinstance(value, list):
            return [copied(item) for item in value]
        return value

    return copied(state)


def to_plain(value: Any, *, copy: bool = False, on_unknown: Callable[[str, Any], None] | None = None) -> Any:
    """Convert a nested state to CPU tensors and plain Python.

    NumPy scalars become numbers, numeric arrays tensors, other arrays lists, named tuples tuples, ``ConfigDict`` a
    dict, paths strings, history buffers a dict of tensors. Tensors that share memory (tied weights) still do.

    Args:
        copy: Give every tensor memory of its own, so that training may go on while the result is written.
        on_unknown: Called with the place and the value of what has no plain form, which is then left out.

    Returns:
        The plain state; dicts, lists and tuples are new.

    Raises:
        TypeError: If something has no plain form and ``on_unknown`` is not given.
    """
    return _Converter(copy, on_unknown).convert(value, '')


class PlainHistory:
    """Stands in for MMEngine's ``HistoryBuffer`` while a checkpoint is read: attributes only."""

    _log_history: Any
    _count_history: Any
    max_length: int


class _Converter:
    def __init__(self, copy: bool, on_unknown: Callable[[str, Any], None] | None) -> None:
        self.copy = copy
        self.on_unknown = on_unknown
        self.tensors: dict[tuple, Tensor] = {}

    def convert(self, value: Any, place: str) -> Any:
        if value is None or type(value) in (bool, int, float, complex, str, bytes):
            return value
        if isinstance(value, Tensor):
            return self._tensor(value)
        if isinstance(value, np.generic) and value.dtype.kind != 'V':
            return self.convert(value.item(), place)
        if isinstance(value, np.ndarray):
            if value.dtype.kind not in 'biufc':
                return self.convert(value.tolist(), place)
            # A copy: the caller's array may change, and torch refuses negative strides.
            return torch.from_numpy(value.copy())
        if isinstance(value, HistoryBuffer | PlainHistory):
            return _plain_history(value)
        if isinstance(value, Mapping):
            return self._mapping(value, place)
        if isinstance(value, list | tuple):
            items = (self.convert(item, f'{place}[{index}]') for index, item in enumerate(value))
            return (list if isinstance(value, list) else tuple)(item for item in items if item is not _DROP)
        if isinstance(value, set | frozenset):
            return {self.convert(item, place) for item in value} - {_DROP}
        return self._leaf(value, place)

    def _leaf(self, value: Any, place: str) -> Any:
        if isinstance(value, torch.dtype | torch.device):
            return value
        # Subclasses: np.str_, IntEnum, SampleIndex.
        plain_type: Any
        for plain_type in (bool, int, float, complex, str, bytes):
            if isinstance(value, plain_type):
                return plain_type(value)
        if isinstance(value, PurePath):
            return str(value)
        if self.on_unknown is None:
            kind = f'{type(value).__module__}.{type(value).__name__}'
            raise TypeError(
                f'checkpoint entry {place or "(the state itself)"} is a {kind}: only '
                'tensors, numbers, strings, bytes and dicts, lists, tuples and sets of them can be saved. '
                'Convert it where it is put into the state.'
            )
        self.on_unknown(place, value)
        return _DROP

    def _mapping(self, value: Mapping, place: str) -> dict:
        plain = {}
        for key, item in value.items():
            plain_key, plain_item = self.convert(key, place), self.convert(item, f'{place}.{key}'.strip('.'))
            if plain_key is not _DROP and plain_item is not _DROP:
                plain[plain_key] = plain_item
        metadata = getattr(value, '_metadata', None) if isinstance(value, OrderedDict) else None
        if metadata is None:
            return plain
        # Versions of a module's layout, which load_state_dict of some modules asks for.
        versioned: Any = OrderedDict(plain)
        versioned._metadata = self.convert(metadata, place)
        return versioned

    def _tensor(self, tensor: Tensor) -> Tensor:
        copies = self.copy and not hasattr(tensor, _IS_COPY)
        tensor = tensor.detach()
        if hasattr(tensor, 'full_tensor'):  # DTensor: gathered over the ranks, so the file loads in one process
            tensor = tensor.full_tensor()
        if tensor.layout != torch.strided:
            return tensor.cpu()
        key = (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())
        if tensor.numel() and key in self.tensors:
            return self.tensors[key]
        plain = tensor.as_subclass(Tensor).cpu()
        # torch.save writes the whole storage of a view.
        is_view = plain.untyped_storage().nbytes() > plain.nbytes
        if is_view or (copies and plain.data_ptr() == tensor.data_ptr()):
            plain = plain.clone()
        self.tensors[key] = plain
        return plain


def _plain_history(buffer: HistoryBuffer | PlainHistory) -> dict:
    values, counts = np.asarray(buffer._log_history), np.asarray(buffer._count_history)
    same = len(counts) > 0 and (counts == counts[0]).all()
    return dict(
        log_history=torch.from_numpy(np.array(values, dtype=np.float64)),
        # Nearly always 1 throughout; a long run has a million of them.
        count_history=int(counts[0]) if same else torch.from_numpy(np.array(counts, dtype=np.int64)),
        max_length=int(buffer.max_length),
    )


def _history(state: Mapping) -> HistoryBuffer:
    values = torch.as_tensor(state['log_history']).cpu().numpy()
    counts = state['count_history']
    counts = np.full(len(values), counts) if isinstance(counts, int) else torch.as_tensor(counts).cpu().numpy()
    return HistoryBuffer(values, counts, state['max_length'])


def message_hub_state(hub: MessageHub, *, on_unknown: Callable[[str, Any], None] | None = None) -> dict:
    """Return what a resumed run needs of a message hub, as plain types.

    Args:
        on_unknown: Called with the key and the value of runtime information without a plain form; it is left out in
            any case, since hooks of other libraries put any object there.

    Returns:
        A dict with ``log_scalars``, ``runtime_info`` and ``resumed_keys``.
    """
    scalars = {key: buffer for key, buffer in hub.log_scalars.items() if hub._resumed_keys.get(key)}
    info = {key: value for key, value in hub.runtime_info.items() if hub._resumed_keys.get(key)}
    ignore = on_unknown or (lambda _place, _value: None)
    plain = dict(log_scalars=to_plain(scalars), runtime_info=to_plain(info, on_unknown=ignore))
    return plain | dict(resumed_keys=dict.fromkeys([*plain['log_scalars'], *plain['runtime_info']], True))


def restore_message_hub(hub: MessageHub, state: Mapping) -> None:
    """Put back what :func:`message_hub_state` returned, also for a message hub of an MMEngine checkpoint."""
    scalars = {key: _history(value) for key, value in state['log_scalars'].items() if isinstance(value, Mapping)}
    info = dict(state['runtime_info'])
    keys = {key: resumed for key, resumed in state['resumed_keys'].items() if key in scalars or key in info}
    hub.load_state_dict(dict(log_scalars=scalars, runtime_info=info, resumed_keys=keys))
