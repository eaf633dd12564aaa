"""Where a loss that is not finite comes from: the batch is run again with a hook on every module."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmopt.config.spelling import spelled
from mmopt.structures import describe_samples

__all__ = ['Diagnosis', 'first_bad_module']

_MAX_SAMPLES = 8


class Diagnosis:
    """What is known about one iteration; texts are made only when they are asked for.

    Args:
        iteration: Number of the iteration, from 1.
        log: The iteration's scalars.
        learning_rates: Learning rates of the parameter groups.
        loss_scale: Scale of fp16, None without.
        batch: The preprocessed batch.
        forward: Runs the batch forward again.
    """

    def __init__(
        self,
        *,
        iteration: int,
        log: Mapping[str, Tensor],
        learning_rates: Sequence[float],
        loss_scale: float | None,
        batch: Any,
        module: nn.Module,
        forward: Callable[[], Any],
    ) -> None:
        self.iteration = iteration
        self.log = log
        self.learning_rates = sorted(set(learning_rates))
        self.loss_scale = loss_scale
        self.batch = batch
        self.module = module
        self.forward = forward

    def headline(self) -> str:
        """Name iteration, losses, learning rate and loss scale."""
        losses = ', '.join(f'{name} {float(value):.4g}' for name, value in self.log.items() if 'loss' in name)
        rates = ', '.join(f'{rate:.4g}' for rate in self.learning_rates)
        scale = '' if self.loss_scale is None else f', loss scale {self.loss_scale:g}'
        bad = any(not math.isfinite(float(value)) for name, value in self.log.items() if 'loss' in name)
        where = '' if bad else ' (on another rank)'
        return f'The loss of iteration {self.iteration} is not finite{where}: {losses}; learning rate {rates}{scale}.'

    def samples_line(self) -> str:
        """Name the samples of the batch."""
        names = describe_samples(self.batch)
        if not names:
            return 'The batch does not name its samples.'
        more = f' and {len(names) - _MAX_SAMPLES} more' if len(names) > _MAX_SAMPLES else ''
        return f'Samples: {", ".join(names[:_MAX_SAMPLES])}{more}.'

    def explain(self) -> str:
        """Return the whole message, one finding per line."""
        lines = [self.headline(), self.samples_line(), *self._inputs(), *self._weights()]
        lines.append(first_bad_module(self.module, self.forward))
        lines.append(
            f'Lower the learning rate, clip gradients ({spelled("optim_wrapper.clip_grad")}), mend the samples, or '
            f"go on: {spelled('train_cfg.bad_numbers')}=dict(action='skip') or 'rollback'."
        )
        return '\n  '.join(lines)

    def _inputs(self) -> Iterator[str]:
        inputs = self.batch.get('inputs') if isinstance(self.batch, Mapping) else self.batch
        names = describe_samples(self.batch)
        for place, tensor in _tensors(inputs, 'inputs'):
            if not tensor.is_floating_point() or bool(torch.isfinite(tensor).all()):
                continue
            bad = [number for number, sample in enumerate(tensor) if not bool(torch.isfinite(sample).all())]
            of = ', '.join(names[number] if number < len(names) else f'number {number}' for number in bad)
            yield f'{place} of the batch has values that are not finite, in: {of}.'

    def _weights(self) -> Iterator[str]:
        named = self.module.named_parameters()
        bad = [name for name, param in named if not bool(torch.isfinite(param.detach()).all())]
        if bad:
            yield (
                f'{len(bad)} weights are not finite before this iteration, the first is {bad[0]}: a gradient of an '
                'earlier iteration was not, though its loss was.'
            )


def _tensors(value: Any, place: str) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        yield place, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _tensors(item, f'{place}.{key}')
    elif isinstance(value, list | tuple):
        for number, item in enumerate(value):
            yield from _tensors(item, f'{place}[{number}]')


def _num_bad(value: Any) -> tuple[int, int]:
    """Count the values that are not finite, and all."""
    floating = [tensor for _, tensor in _tensors(value, '') if tensor.is_floating_point()]
    return sum(int((~torch.isfinite(t)).sum()) for t in floating), sum(t.numel() for t in floating)


@contextmanager
def _hooks(module: nn.Module, found: list[str]) -> Iterator[None]:
    def look(name: str) -> Callable:
        def hook(part: nn.Module, inputs: tuple, kwargs: dict, output: Any) -> None:
            if found:
                return
            bad, total = _num_bad(output)
            if bad:
                weights = any(not bool(torch.isfinite(p).all()) for p in part.parameters())
                inputs_bad = _num_bad([*inputs, kwargs])[0]
                found.append(
                    f'First output that is not finite: {name or "the model"} ({type(part).__name__}), {bad} of {total} '
                    f'values; its inputs are {"not " if inputs_bad else ""}finite, its weights are '
                    f'{"not " if weights else ""}finite.'
                )

        return hook

    # A child ends before its parent, so the first to report is the innermost.
    handles = [
        part.register_forward_hook(look(name), with_kwargs=True)
        for name, part in module.named_modules()
        if part is not module
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


@torch.no_grad()
def first_bad_module(module: nn.Module, forward: Callable[[], Any]) -> str:
    """Run forward once more and name the first module whose output is not finite.

    Args:
        forward: Runs it, on the batch in question.

    Returns:
        One sentence.
    """
    found: list[str] = []
    try:
        with _hooks(module, found):
            losses = forward()
    except (RuntimeError, ValueError, AssertionError, IndexError) as error:
        # Such a forward pass may fail where numbers are used as places; what was found before it counts.
        return found[0] if found else f'Running the batch again failed: {error}.'
    if found:
        return found[0]
    bad = [name for name, value in losses.items() if _num_bad(value)[0]]
    if bad:
        return f'All modules gave finite outputs: the loss itself is not, in {", ".join(bad)}.'
    return 'Run again, the batch gave finite numbers: what is drawn at random (dropout) decided.'
