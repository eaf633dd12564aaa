"""From settings to a report, with a progress bar: what ``tools/benchmark.py`` does once its arguments are read."""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from mmopt.apis.bench.estimates import estimate_settings
from mmopt.apis.bench.report import NOT_MEASURED, make_rows, make_sums, write_report
from mmopt.apis.bench.rounds import SettingResult, benchmark
from mmopt.apis.bench.settings import Setting, TrialPlan
from mmopt.apis.bench.tables import Sum
from mmopt.apis.cli.outputs import check_file
from mmopt.utils.errors import UserError
from mmopt.utils.machine import describe_machine
from mmopt.utils.terminal import number

__all__ = ['compare', 'describe_trial']


def describe_trial(trial: dict[str, Any]) -> str:
    """Write what a trial gave in a few words."""
    if 'failed' in trial:
        return f'{trial["failed"]}: {trial["message"]}'
    again = ', from before' if trial.get('reused') else ''
    if 'metrics' in trial:
        name = trial['main_metric']
        return (f'{name} {number(trial["metrics"][name])}' if name else 'no metric') + again
    step = statistics.median(trial['iter_s'])
    return f'{number(trial["batch_size"] / step, 3)} samples/s, {number(1000 * step, 3)} ms per iteration{again}'


def compare(
    settings: Sequence[Setting],
    plan: TrialPlan,
    folder: Path,
    *,
    out: Path,
    title: str,
    notes: Sequence[str] = (),
    sums: Sequence[Sum] = (),
    rounds: int = 3,
    metric: bool = False,
    estimate: bool = False,
    num_train: int | None = None,
    num_val: int | None = None,
    again: bool = False,
) -> int:
    """Measure settings and write the report.

    Args:
        settings: The settings; the first is the baseline.
        plan: How to measure them.
        folder: Results and logs of the trials.
        out: The report's path without ending.
        notes: Sentences below its tables.
        sums: Settings that are phases of one training, to be added up.
        rounds: Trials per setting; 0 only estimates.
        metric: Whether to train each to the end as well, once per round with another seed.
        estimate: Whether to estimate what each takes of a GPU.
        num_train: Training samples of the whole data set.
        num_val: Its validation samples.
        again: Run also what is finished.

    Returns:
        0, or 1 if a setting or its estimate failed.

    Raises:
        UserError: If a config or option is wrong, or nothing is to be done.
    """
    if not (rounds or estimate):
        raise UserError('--rounds 0 measures nothing: with --estimate it only estimates the memory.')
    for path in (out, out.with_suffix('.json'), out.with_suffix('.md')):
        check_file(path, '--out')
    for setting in settings:
        setting.load()  # a wrong path or option is found now, not after an hour
    if not torch.cuda.device_count():  # through NVML: does not start CUDA
        left_out = [setting for setting in settings if setting.needs_gpu]
        notes = [*notes, *(f'Not without a GPU: {setting.name}: {setting.needs_gpu}.' for setting in left_out)]
        settings = [setting for setting in settings if not setting.needs_gpu]
    seeds = range(plan.seed, plan.seed + rounds) if metric else ()
    with tqdm(total=len(settings) * (rounds + len(seeds)), unit='trial', disable=None, leave=False) as bar:

        def report(setting: Setting, repeat: int, trial: dict[str, Any], rounds_before: int = 0) -> None:
            bar.update()
            done = rounds_before + repeat + 1
            bar.write(f'{done}/{rounds}  {setting.name}: {describe_trial(trial)}', file=sys.stderr)

        results = benchmark(settings, plan, folder, rounds=rounds, again=again, report=report)
        for done, seed in enumerate(seeds):
            whole = replace(plan, metric=True, seed=seed)
            tell = partial(report, rounds_before=done)
            _add_metrics(results, benchmark(settings, whole, folder, rounds=1, again=again, report=tell))
    rows = make_rows(results, num_train=num_train, num_val=num_val)
    if estimate:
        print(f'estimating the GPU memory of {len(settings)} settings', file=sys.stderr)
        for row, estimated in zip(rows, estimate_settings(settings), strict=True):
            row['estimate'] = estimated
    rows += make_sums(rows, sums)
    machine = next((result.trials[0]['machine'] for result in results if result.trials), describe_machine())
    print(write_report(rows, machine, out, title, notes))
    written = [out.with_suffix(suffix) for suffix in ('.md', '.json', '.png')]
    print(', '.join(str(path) for path in written if path.exists()), file=sys.stderr)
    parts = [*rows, *(row['estimate'] for row in rows if 'estimate' in row)]
    return int(any(part.get('failure', NOT_MEASURED) != NOT_MEASURED for part in parts))


def _add_metrics(results: Sequence[SettingResult], trained: Sequence[SettingResult]) -> None:
    for result, other in zip(results, trained, strict=True):
        result.metrics += other.metrics
        result.failure = result.failure or other.failure
