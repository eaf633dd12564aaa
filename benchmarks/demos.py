#!/usr/bin/env python
"""Make the data of every demo, train it, and write what it costs and what it learns.

python benchmarks/demos.py                                     # all; benchmarks/results/demos.{json,md}
python benchmarks/demos.py --only lss_swin_nuscenes --seed 1   # one more row
ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 python benchmarks/demos.py --precision fp32

The last one lets a machine with AVX512 compute as one without, and the results say so. A row of the same demo, machine,
instructions, threads, precision and seed is left alone, so an interrupted benchmark goes on where it stopped; `--again`
measures it anew.

TFLOP are those of all training iterations, forward and backward: matrix products, convolutions and attention in fp32.
Evaluations are not in them, but in the seconds. Beside the seconds on the wall stands the CPU time of the process and
its workers: where that is far below threads x seconds, the machine was not alone.
"""

import argparse
import importlib
import inspect
import itertools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmopt.apis import load_config
from mmopt.apis.memory.case import load_case
from mmopt.datasets.demos import DEMOS
from mmopt.datasets.video.demo.make import NUM_ROUNDS
from mmopt.datasets.video.layout import DRIVER_ACTIONS
from mmopt.engine.loops.step import TrainStep
from mmopt.utils.errors import UserError
from mmopt.utils.flops import count_flops
from mmopt.utils.machine import describe_machine
from mmopt.utils.precision import choose_precision, this_device

REPO = Path(__file__).resolve().parents[1]
CONFIGS = REPO / 'configs' / 'demo'
RESULTS = Path(__file__).with_name('results') / 'demos'
KEY = ('demo', 'cpu', 'instructions', 'threads', 'precision', 'seed')
COUNTED_SAMPLES = 2  # operations grow with the batch; of one sample some models cannot take batch statistics


def demo_names() -> list[str]:
    """Return the names of all demo configs."""
    return sorted(path.stem for path in CONFIGS.glob('*.py'))


def data_of(config: Any) -> str:
    """Return the name of a lowered demo config's data set."""
    dataset = config.train_dataloader['dataset']
    return Path(dataset['data_root']).name


def num_train_samples(data: str) -> int:
    """Return how many training samples a demo data set has: what it is made of by default."""
    make_demo = importlib.import_module(DEMOS[data].module).make_demo
    num_train = inspect.signature(make_demo).parameters['num_train'].default
    return num_train * NUM_ROUNDS * len(DRIVER_ACTIONS) if data == 'driver' else num_train


def num_iterations(config: Any) -> int:
    """Return the training iterations of a lowered demo config."""
    loop, loader = config.train_cfg, config.train_dataloader
    if loop.get('max_iters'):
        return loop['max_iters']
    samples = num_train_samples(data_of(config))
    batches = samples // loader['batch_size'] if loader.get('drop_last') else -(-samples // loader['batch_size'])
    return loop['max_epochs'] * batches


def iteration_flops(path: Path) -> float:
    """Count one training iteration of a config, on an example batch: no data is needed."""
    case = load_case(path, batch_size=COUNTED_SAMPLES, precision='fp32')
    model = case.build_model()
    model.train()
    step = TrainStep(model, case.build_optim_wrapper(model), None)
    batch = case.batch_maker()()
    recurrent = any(isinstance(module, nn.RNNBase) for module in model.modules())
    flops = count_flops(lambda: step(batch), recurrent=recurrent)
    return flops / COUNTED_SAMPLES * load_config(path).train_dataloader['batch_size']


def training_tflop(name: str) -> float:
    """Return the operations of a demo's training, those of the runs that it is compared with included."""
    path = CONFIGS / f'{name}.py'
    config = load_config(path)
    total = num_iterations(config) * iteration_flops(path) / 1e12
    for hook in config.get('custom_hooks') or []:
        for other in (hook.get('others') or {}).values():
            total += training_tflop(Path(other).stem)
    return total


def run(command: Sequence[str]) -> tuple[float, float]:
    """Run a tool, its output shown.

    Returns:
        Seconds on the wall, and CPU time of the process and its workers.
    """
    wall, before = time.perf_counter(), os.times()
    environ = {**os.environ, 'PYTHONPATH': str(REPO)}
    code = subprocess.run([sys.executable, *command], cwd=REPO, env=environ).returncode
    if code not in (0, 1):  # 1: an expectation failed, which the table says
        raise UserError(f'{" ".join(command)} ended with exit code {code}; its last lines say why.')
    after = os.times()
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - wall, cpu


def measure(name: str, precision: str, seed: int, root: Path, prefix: str) -> dict[str, Any]:
    """Make a demo's data, unless another demo of this benchmark has, and train it."""
    path, data = CONFIGS / f'{name}.py', data_of(load_config(CONFIGS / f'{name}.py'))
    made = root / 'data' / data
    times = made.with_suffix('.json')
    if not times.is_file():
        print(f'{prefix}: making {data}', flush=True)
        data_s, data_cpu_s = run(['tools/datasets/make_demo.py', data, '--out', str(made), '--force'])
        times.write_text(json.dumps(dict(data_s=data_s, data_cpu_s=data_cpu_s)))
    work_dir = root / 'runs' / f'{name}_{precision}_{seed}'
    shutil.rmtree(work_dir, ignore_errors=True)
    print(f'{prefix}: training', flush=True)
    command = ['tools/train.py', str(path.relative_to(REPO)), '--work-dir', str(work_dir), '--precision', precision]
    _, train_cpu_s = run([*command, '--seed', str(seed), '--options', f'data.data_root={made}'])
    summary = json.loads((work_dir / 'summary.json').read_text())
    expected = num_iterations(load_config(path))
    if summary['iters'] != expected:
        raise UserError(
            f'{name} was trained for {summary["iters"]} iterations, {expected} were counted: mend the count.'
        )
    against = next(item for item in summary['expectations'] if item['baseline'])
    metric = against['metric']
    return dict(
        tflop=training_tflop(name),
        iters=expected,
        **json.loads(times.read_text()),
        train_s=summary['wall_s'],
        train_cpu_s=train_cpu_s,
        metric=metric,
        value=against['value'],
        baseline=against['baseline'][metric],
        bounds={item['source'] or 'plain number': item['bound'] for item in summary['expectations']},
        holds=all(item['value'] > item['bound'] for item in summary['expectations']),
        torch=torch.__version__,
    )


def instructions() -> str:
    """Return what the processor computes with, and whether that is less than it has."""
    emulated = 'ATEN_CPU_CAPABILITY' in os.environ or 'ONEDNN_MAX_CPU_ISA' in os.environ
    return torch.backends.cpu.get_cpu_capability() + (', emulated' if emulated else '')


def report(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write a table per machine, instructions and threads."""
    command = '`python benchmarks/demos.py`; "emulated": `ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2` before it.'
    lines = ['# The demos: what they cost and what they learn', '', command, '', __doc__.split('\n\n')[-1].strip()]
    setting = ('cpu', 'instructions', 'threads', 'torch')
    for group, members in itertools.groupby(
        sorted(rows, key=lambda row: [row[key] for key in (*setting, *KEY)]),
        lambda row: tuple(row[key] for key in setting),
    ):
        cpu, isa, threads, version = group
        lines += ['', f'## {cpu}, {threads} threads, {isa}, torch {version}', '']
        lines += [
            '| demo | precision | seed | TFLOP | iterations | data, s (CPU s) | training, s (CPU s) | metric | value '
            '| input-blind baseline | claims hold |',
            '|---' * 11 + '|',
        ]
        for row in members:
            lines.append(
                f'| {row["demo"]} | {row["precision"]} | {row["seed"]} | {row["tflop"]:.2f} | {row["iters"]} '
                f'| {row["data_s"]:.0f} ({row["data_cpu_s"]:.0f}) | {row["train_s"]:.0f} ({row["train_cpu_s"]:.0f}) '
                f'| {row["metric"]} | {row["value"]:.3f} | {row["baseline"]:.3f} | {"yes" if row["holds"] else "NO"} |'
            )
    return '\n'.join(lines) + '\n'


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--only', nargs='+', choices=demo_names(), default=demo_names(), metavar='DEMO')
    parser.add_argument('--precision', default='fp32', help='as for tools/train.py; default: fp32')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--again', action='store_true', help='measure rows anew that are there already')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/demos'), help='data and runs')
    parser.add_argument('--out', type=Path, default=RESULTS, help='result files without their ending')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    stored = args.out.with_suffix('.json')
    rows = json.loads(stored.read_text()) if stored.is_file() else []
    machine = describe_machine()
    # What 'auto' comes to is a fact of the machine.
    chosen = choose_precision(this_device()).precision
    label = f'auto: {chosen}' if args.precision == 'auto' else args.precision
    for number, name in enumerate(args.only, 1):
        where = dict(cpu=machine['cpu'], instructions=instructions(), threads=machine['threads'])
        key = dict(demo=name, **where, precision=label, seed=args.seed)
        known = [row for row in rows if all(row[part] == key[part] for part in KEY)]
        prefix = f'[{number}/{len(args.only)}] {name}, {args.precision}, seed {args.seed}'
        if known and not args.again:
            print(f'{prefix}: measured already')
            continue
        row = key | measure(name, args.precision, args.seed, args.work_dir.resolve(), prefix)
        rows = [other for other in rows if other not in known] + [row]
        stored.write_text(json.dumps(rows, indent=1) + '\n')
        args.out.with_suffix('.md').write_text(report(rows))
        print(f'{prefix}: {row["metric"]} {row["value"]:.3f}, {row["train_s"]:.0f} s', flush=True)
    print(report(rows))


if __name__ == '__main__':
    main()
