#!/usr/bin/env python
"""Compare the tuner with an exhaustive grid: how far its choice is from the grid's best, at which share of its trials.

python tools/datasets/make_demo.py nuscenes && python tools/datasets/make_demo.py mabe
python benchmarks/tuner_against_grid.py --rounds 2 --out benchmarks/results/tuner_against_grid

Every point of the grid is measured in interleaved rounds, in fresh processes, as tools/benchmark.py does; what is
finished is kept. The tuner then runs on the first round's measurements, which it would have made itself, and its choice
is judged by the medians of all rounds.
"""

import argparse
import json
import statistics
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
from mmengine.registry import init_default_scope
from tqdm import tqdm

from mmopt.apis.bench.launch import run_fresh
from mmopt.apis.bench.rounds import SettingResult, benchmark
from mmopt.apis.bench.settings import Setting, TrialPlan
from mmopt.apis.config import load_config, read_config, samples_per_step
from mmopt.apis.doctor.machine import look_at_machine
from mmopt.apis.tune.edits import as_options, make_edits
from mmopt.apis.tune.knobs import Situation, make_space
from mmopt.engine.tuner import Outcome, Point, Space, search
from mmopt.registry import MODELS
from mmopt.utils.machine import describe_machine

CONFIGS = ('configs/demo/tad_v7_mabe.py', 'configs/demo/lss_swin_nuscenes.py')
KNOBS = ('batch', 'precision', 'channels_last', 'checkpointing', 'fused_optimizer')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('configs', nargs='*', default=CONFIGS)
    parser.add_argument('--knobs', nargs='+', default=KNOBS)
    parser.add_argument('--rounds', type=int, default=2)
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--iters', type=int, default=6)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/tuner_against_grid/report'))
    return parser.parse_args(argv)


def make_grid(config: str, knobs: Sequence[str]) -> tuple[Space, list[Point], list[Setting]]:
    cfg, source = load_config(config), read_config(config).to_dict()
    init_default_scope('mmopt')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    effective = samples_per_step(cfg.to_dict())
    space = make_space(cfg, model, Situation(look_at_machine(), 10**6, effective, 0.0), knobs)
    points = list(space)
    settings = []
    for point in points:
        name = ', '.join(f'{key} {value}' for key, value in point.items())
        settings.append(Setting(name, config, as_options(make_edits(source, point, effective=effective))))
    return space, points, settings


def seconds(result: SettingResult, rounds: slice = slice(None)) -> float | None:
    if result.failure:
        return None
    return statistics.median(1 / rate for rate in result.samples_per_s()[rounds])


def compare(config: str, args: argparse.Namespace) -> dict:
    space, points, settings = make_grid(config, args.knobs)
    trial = TrialPlan(args.warmup, args.iters, val_batches=0, flops=False)
    folder = Path('work_dirs/tuner_against_grid', Path(config).stem)
    with tqdm(total=len(settings) * args.rounds, unit='trial', desc=Path(config).stem, disable=None) as bar:
        results = benchmark(settings, trial, folder, rounds=args.rounds, run=run_fresh, report=lambda *_: bar.update())
    measured = [seconds(result) for result in results]
    first_round = [seconds(result, slice(1)) for result in results]

    def measure(point: dict) -> Outcome:
        place = points.index(point)
        return Outcome(first_round[place], results[place].failure)

    found = search(space, measure)
    best = min(value for value in measured if value is not None)
    chosen = measured[points.index(found.best)]
    return dict(
        config=config,
        grid=len(space),
        trials=len(found.trials),
        share=len(found.trials) / len(space),
        gap=chosen / best - 1,
        speed_over_base=measured[points.index(space.base)] / chosen,
        best_over_base=measured[points.index(space.base)] / best,
        choice=found.best,
        best_setting=points[measured.index(best)],
        seconds_per_sample=dict(zip((setting.name for setting in settings), measured, strict=True)),
    )


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    rows = [compare(config, args) for config in args.configs]
    lines = [
        '| model | grid | trials of the tuner | choice over base | best over base | choice behind best |',
        '|---|---|---|---|---|---|',
    ]
    lines += [
        f'| {Path(row["config"]).stem} | {row["grid"]} | {row["trials"]} ({row["share"]:.0%}) '
        f'| {row["speed_over_base"]:.2f}x | {row["best_over_base"]:.2f}x | {row["gap"]:.1%} |'
        for row in rows
    ]
    machine = describe_machine()
    text = '\n'.join([', '.join(f'{key} {value}' for key, value in machine.items()), '', *lines]) + '\n'
    print(text)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix('.md').write_text(text, encoding='utf-8')
    content = dict(machine=machine, command=f'python {" ".join(sys.argv)}', rows=rows)
    args.out.with_suffix('.json').write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    return int(any(row['gap'] > 0.1 or row['share'] > 0.4 for row in rows))


if __name__ == '__main__':
    sys.exit(main())
