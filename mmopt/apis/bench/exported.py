"""Throughput of exported models beside that of the model they were made from, measured in turns in one process."""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmopt.apis.bench.rounds import Spread
from mmopt.apis.bench.text import format_spread, markdown_table
from mmopt.apis.export.export import Exported, export_model

__all__ = ['compare_exported', 'throughput_table', 'time_in_turns']

_RUNTIMES = {'.onnx': 'ONNX, onnxruntime', '.pt2': "torch.export's archive"}


def time_in_turns(runs: Mapping[str, Callable[[], Any]], rounds: int, warmup: int = 1) -> dict[str, list[float]]:
    """Time functions in turns, there and back: a slow moment of the machine slows all alike.

    Args:
        runs: What to time, by name.
        rounds: Timings of each.
        warmup: Runs of each before, which do not count.

    Returns:
        Seconds of each round, by name.
    """
    taken_s: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(warmup + rounds):
        for name in list(runs)[:: 1 if number % 2 == 0 else -1]:
            start = time.perf_counter()
            runs[name]()
            if number >= warmup:
                taken_s[name].append(time.perf_counter() - start)
    return taken_s


def throughput_table(made: Sequence[Exported], rounds: int, warmup: int = 1) -> str:
    """Time a model and the graphs made from it.

    Args:
        made: Exports of one model on one batch.
        rounds: Timings of each.
        warmup: Runs of each before, which do not count.

    Returns:
        A Markdown table: medians over the rounds; speed is over the model's of the same round.
    """
    batch_size = next(iter(made[0].inputs.values()))[0]
    runs = dict(model=made[0].run_model) | {_RUNTIMES[item.path.suffix]: item.run_graph for item in made}
    taken_s = time_in_turns(runs, rounds, warmup)
    body = []
    for name, own_s in taken_s.items():
        samples_per_s = Spread.of([batch_size / value for value in own_s])
        speed = Spread.of([model_s / value for model_s, value in zip(taken_s['model'], own_s, strict=True)])
        body.append(
            [
                name,
                str(batch_size),
                f'{1e3 * Spread.of(own_s).median:.1f}',
                f'{samples_per_s.median:.1f}',
                format_spread(asdict(speed), '{:.2f}x'.format),
            ]
        )
    return markdown_table(['forward pass', 'batch', 'ms', 'samples/s', 'speed'], body)


def compare_exported(
    cfg: Config,
    suffixes: Sequence[str],
    *,
    batch_size: int = 1,
    input_size: tuple[int, int] | None = None,
    rounds: int = 20,
    warmup: int = 5,
) -> str:
    """Export a config's model to several formats, check each, and time them; no file stays.

    Args:
        cfg: A lowered config; its weights are those that the model is built with.
        suffixes: ``'.onnx'`` and ``'.pt2'``, or one of them.
        batch_size: Batch of the graphs.
        input_size: See :func:`mmopt.apis.export.export.export_model`.
        rounds: Timings of each.
        warmup: Runs of each before, which do not count.

    Returns:
        A Markdown table.
    """
    with tempfile.TemporaryDirectory() as folder:
        made = [
            export_model(cfg, None, Path(folder, f'model{suffix}'), batch_size=batch_size, input_size=input_size)
            for suffix in suffixes
        ]
        return throughput_table(made, rounds, warmup)
