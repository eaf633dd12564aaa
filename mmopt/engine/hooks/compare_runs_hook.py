"""Results of several configs side by side, each trained on the same data."""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dist import get_world_size, is_main_process
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmopt.config import lower, replace_data_root
from mmopt.engine.loops.step import unwrap
from mmopt.registry import HOOKS, RUNNERS

__all__ = ['CompareRunsHook', 'comparison_table', 'train_and_measure']


def _facts(runner: Runner, train_s: float) -> dict[str, float]:
    """Return what a run cost and reached."""
    iters = max(runner.train_loop.iters_done, 1)
    num_params = sum(param.numel() for param in unwrap(runner.model).parameters())
    cost = dict(parameters=num_params, iterations=iters, train_s=train_s, s_per_iteration=train_s / iters)
    return cost | {name: float(value) for name, value in runner.val_loop.metrics.items()}


def train_and_measure(path: str, work_dir: str, data_root: str | None, seed: int) -> dict[str, float]:
    """Train a config in this process.

    Args:
        work_dir: Where its run goes.
        data_root: Replaces that of its data sets; None keeps it.
        seed: Seed of the run.

    Returns:
        Parameters, iterations, seconds (evaluations included) and the metrics of the last evaluation.
    """
    cfg = Config.fromfile(path).to_dict()
    if data_root:
        cfg = replace_data_root(cfg, data_root)
    lowered = lower(cfg) | dict(work_dir=work_dir, randomness=dict(seed=seed), launcher='none')
    runner = RUNNERS.get(lowered['runner_type']).from_cfg(Config(lowered))
    began = time.perf_counter()
    runner.train()
    return _facts(runner, time.perf_counter() - began)


def _in_another_process(*arguments: Any) -> dict[str, float]:
    """Call :func:`train_and_measure` there: MMEngine's loggers, scopes and hubs are global."""
    code = (
        'import json, sys\n'
        f'from {__name__} import train_and_measure\n'
        'arguments, out = json.loads(sys.argv[1]), sys.argv[2]\n'
        "open(out, 'w', encoding='utf-8').write(json.dumps(train_and_measure(*arguments)))\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, 'result.json')
        environment = os.environ | dict(PYTHONPATH=os.pathsep.join(part for part in sys.path if part))
        subprocess.run([sys.executable, '-c', code, json.dumps(arguments), str(out)], env=environment, check=True)
        return json.loads(out.read_text(encoding='utf-8'))


def comparison_table(columns: Mapping[str, Mapping[str, float]], metrics: Sequence[str]) -> str:
    """Set results side by side.

    Args:
        columns: Results by name of the run.
        metrics: Rows after the costs; ``'name.*'`` stands for all that begin so.

    Returns:
        A Markdown table. The best of each metric is set in bold, whoever has it.
    """
    first = next(iter(columns.values()))
    wanted = [
        name
        for pattern in metrics
        for name in ([n for n in first if n.startswith(pattern[:-1])] if pattern.endswith('*') else [pattern])
    ]
    rows = [['', *columns]]
    rows.append(['parameters', *(f'{column["parameters"]:,.0f}' for column in columns.values())])
    rows.append(['iterations', *(f'{column["iterations"]:.0f}' for column in columns.values())])
    rows.append(['seconds per iteration', *(f'{column["s_per_iteration"]:.3f}' for column in columns.values())])
    for name in wanted:
        values = [column.get(name, float('nan')) for column in columns.values()]
        rows.append([name, *(f'**{value:.3f}**' if value == max(values) else f'{value:.3f}' for value in values)])
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    padded = [[text.ljust(width) for text, width in zip(row, widths, strict=True)] for row in rows]
    lines = [f'| {" | ".join(row)} |' for row in padded]
    lines.insert(1, '|' + '|'.join('-' * (width + 2) for width in widths) + '|')
    return '\n'.join(lines)


@HOOKS.register_module()
class CompareRunsHook(Hook):
    """After a run, train other configs on the same data and print all results as one table.

    The others run in processes of their own, with the data root and the seed of this one, and leave their
    files in ``<work dir>/<name>``; the table goes to the log and to ``comparison.md``. Whatever wins is what
    is printed. Runs without validation, and runs of several processes, are not compared; the log says so.

    Args:
        name: Column of the run that has the hook.
        others: Config files by column name.
        metrics: Rows; ``'F1.*'`` stands for all that begin so.
    """

    # After the log and the checkpoint of the run itself.
    priority = 'LOWEST'

    def __init__(self, name: str, others: Mapping[str, str], metrics: Sequence[str]) -> None:
        self.name = name
        self.others = dict(others)
        self.metrics = list(metrics)
        self._began = 0.0

    def before_train(self, runner: Runner) -> None:
        """Start the clock."""
        self._began = time.perf_counter()

    def after_train(self, runner: Runner) -> None:
        """Train the others and print the table."""
        train_s = time.perf_counter() - self._began
        if runner.val_loop is None or get_world_size() > 1:
            if is_main_process():
                runner.logger.info('CompareRunsHook compares runs of one process with validation only: skipped.')
            return
        columns = {}
        for name, path in self.others.items():
            runner.logger.info(f'Training {name} ({path}) on the same data, to compare with.')
            work_dir = str(Path(runner.work_dir, name))
            columns[name] = _in_another_process(path, work_dir, runner.cfg.get('data_root'), runner.seed)
        columns[self.name] = _facts(runner, train_s)
        table = comparison_table(columns, self.metrics)
        Path(runner.work_dir, 'comparison.md').write_text(table + '\n', encoding='utf-8')
        runner.logger.info(f'Measured on the same split:\n{table}')
