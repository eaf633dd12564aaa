#!/usr/bin/env python
"""Train the same networks by a plain loop, MMEngine, Lightning, accelerate and mmopt, in turns.

pip install --no-deps --target peers lightning pytorch-lightning lightning-utilities torchmetrics
pip install --no-deps --target peers accelerate huggingface_hub safetensors
PYTHONPATH=peers python benchmarks/peers.py --out benchmarks/results/peers_NAME
python benchmarks/peers.py --tasks toy --trainers plain mmengine mmopt --rounds 1

Every run is a process of its own, which says how long its iterations took, what its losses were and how much memory it
needed at most. The trainers take turns within a round, in another order each round; a ratio is that of one round, its
median over the rounds is printed. `killed` is a small classifier with shuffled, randomly altered samples that saves
every 10 iterations, is killed after 17 of 30 and goes on by the same command: whether it ends with the weights of a run
that was not killed, without and with worker processes. Results are written after every round. The exit code is 1 if a
must fails.
"""

import argparse
import hashlib
import importlib
import importlib.metadata
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mmopt.utils.machine import describe_machine
from mmopt.utils.platform import KILL_SIGNAL, peak_resident_bytes, was_killed

MODULES = dict(
    plain='plain',
    mmengine='openmmlab',
    lightning='lightning_trainer',
    accelerate='accelerate_loop',
    mmopt='mmopt_runner',
)
PACKAGES = dict(lightning='lightning', accelerate='accelerate')
NETWORKS = ('toy', 'resnet18', 'bisenetv2', 'bev')
KILL_AFTER, SAVE_EVERY, KILLED_EPOCH = 17, 10, 12 * 8
SLOWER_AT_MOST = 1.02  # the must: a step of mmopt over one of the plain loop
COMPARED_LOSSES = 20


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tasks', nargs='+', choices=[*NETWORKS, 'killed'], default=[*NETWORKS, 'killed'])
    parser.add_argument('--trainers', nargs='+', choices=sorted(MODULES), default=list(MODULES))
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--iters', type=int, help='of a timed run, instead of those of the task')
    parser.add_argument('--out', type=Path, metavar='NAME', help='write NAME.json and NAME.md')
    parser.add_argument('--child', choices=sorted(MODULES), help=argparse.SUPPRESS)
    parser.add_argument('--settings', type=json.loads, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def run_child(trainer: str, settings: dict[str, Any]) -> None:
    """Train in this process and print what was measured, as the last line."""
    import torch
    from peer_loops.protocol import Run
    from peer_loops.tasks import TASKS

    task = TASKS[settings['task']]
    if task.threads:
        torch.set_num_threads(task.threads)
    iters = settings['iters'] or task.iters
    losses: list[torch.Tensor] = []
    times: list[float] = []

    def on_step(loss: torch.Tensor) -> None:
        times.append(time.perf_counter())
        if len(losses) < COMPARED_LOSSES:
            losses.append(loss.detach())
        if len(times) == settings['kill_after']:
            os.kill(os.getpid(), KILL_SIGNAL)

    run = Run(
        task=task,
        task_name=settings['task'],
        iters=iters,
        epoch_length=KILLED_EPOCH if settings['vary'] else 512 * task.batch_size,
        work_dir=Path(settings['work_dir']),
        save_every=settings['save_every'],
        resume=settings['resume'],
        vary=settings['vary'],
        num_workers=settings['num_workers'],
        on_step=on_step,
    )
    network = importlib.import_module(f'peer_loops.{MODULES[trainer]}').train(run)
    digest = hashlib.sha256()
    for value in network.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)]
    counted = gaps[min(task.warm_up, len(gaps) // 2) :]
    cuda = torch.cuda.is_available()
    print(
        json.dumps(
            dict(
                # The mean, so that nothing that a trainer does now and then is left out.
                step_s=statistics.mean(counted),
                gaps=gaps if len(gaps) < 100 else [],
                losses=[float(loss) for loss in losses],
                peak_gib=peak_resident_bytes() / 2**30,
                gpu_peak_gib=torch.cuda.max_memory_allocated() / 2**30 if cuda else None,
                first_step=time.time() - (time.perf_counter() - times[0]),
                weights=digest.hexdigest(),
            )
        )
    )


def spawn(trainer: str, task: str, work_dir: str, **settings: Any) -> dict[str, Any] | None:
    """Train in a process of its own.

    Returns:
        What it measured, with ``first_step_s`` after it was started; None if it was killed as it should be.

    Raises:
        RuntimeError: If it failed, with its last lines.
    """
    chosen = dict(
        task=task, work_dir=work_dir, iters=None, save_every=None, resume=False, vary=False, num_workers=0, kill_after=0
    ) | settings  # fmt: skip
    started = time.time()
    child = subprocess.run(
        [sys.executable, __file__, '--child', trainer, '--settings', json.dumps(chosen)], capture_output=True, text=True
    )
    if chosen['kill_after'] and was_killed(child.returncode):
        return None
    if child.returncode:
        raise RuntimeError(f'{trainer}, {task}: exit code {child.returncode}.\n{child.stderr[-3000:]}')
    measured = json.loads(child.stdout.splitlines()[-1])
    measured['first_step_s'] = measured.pop('first_step') - started
    return measured


def time_network(task: str, trainers: Sequence[str], round_: int, iters: int | None) -> dict[str, dict]:
    """Run every trainer once on one network."""
    rotated = [*trainers[round_ % len(trainers) :], *trainers[: round_ % len(trainers)]]
    measured = {}
    for trainer in rotated:
        with tempfile.TemporaryDirectory() as work_dir:
            measured[trainer] = spawn(trainer, task, work_dir, iters=iters)
    return measured


def kill_and_resume(trainer: str, num_workers: int) -> dict[str, Any]:
    """Compare a killed and resumed run with one that was left alone."""
    settings: dict[str, Any] = dict(save_every=SAVE_EVERY, vary=True, num_workers=num_workers)
    with tempfile.TemporaryDirectory() as work_dir:
        whole = spawn(trainer, 'killed', work_dir, **settings)
    assert whole is not None
    usual = statistics.median(whole['gaps'])
    # Some save before the step counts as done, some behind it.
    stalls = [sum(whole['gaps'][end - 2 : end]) - 2 * usual for end in (SAVE_EVERY, 2 * SAVE_EVERY)]
    with tempfile.TemporaryDirectory() as work_dir:
        spawn(trainer, 'killed', work_dir, **settings, kill_after=KILL_AFTER)
        resumed = spawn(trainer, 'killed', work_dir, **settings, resume=True)
    assert resumed is not None
    return dict(
        bit_equal=resumed['weights'] == whole['weights'],
        stall_s=max(0.0, statistics.mean(stalls)),
        resume_s=resumed['first_step_s'],
        start_s=whole['first_step_s'],
    )


def ratio(rounds: Sequence[dict], trainer: str) -> float:
    return statistics.median(row[trainer]['step_s'] / row['plain']['step_s'] for row in rounds)


def agree(rounds: Sequence[dict]) -> float:
    """Return the largest relative difference of a loss from the plain loop's."""
    return max(
        abs(mine - plain) / max(abs(plain), 1e-12)
        for row in rounds
        for measured in row.values()
        for mine, plain in zip(measured['losses'], row['plain']['losses'], strict=True)
    )


def report(results: dict[str, Any]) -> tuple[str, list[tuple[str, bool]]]:
    """Return the tables, and every must with whether it holds."""
    machine = results['machine']
    lines = [
        f'{machine["cpu"]}, {machine["threads"]} threads, torch {machine["torch"]}; '
        + ', '.join(f'{name} {version}' for name, version in results['versions'].items()),
        '',
    ]
    musts = []
    for task, rounds in results['networks'].items():
        trainers = list(rounds[0])
        lines += [
            f'**{task}** ({len(rounds)} rounds)\n',
            '| trainer | step ms (min - max) | of the plain loop | peak host GiB |',
            '|---|---|---|---|',
        ]
        for trainer in sorted(trainers, key=list(MODULES).index):
            steps = [row[trainer]['step_s'] * 1e3 for row in rounds]
            peak = statistics.median(row[trainer]['peak_gib'] for row in rounds)
            lines.append(
                f'| {trainer} | {statistics.median(steps):.3f} ({min(steps):.3f} - {max(steps):.3f}) | '
                f'{ratio(rounds, trainer):.3f} | {peak:.2f} |'
            )
        lines.append(f'\nThe first {COMPARED_LOSSES} losses differ by at most {agree(rounds):.1e} of their size.\n')
        musts.append((f'{task}: the losses of all agree to 1e-4', agree(rounds) < 1e-4))
        if 'mmopt' in trainers and task == 'toy':
            slowest = [name for name in trainers if name not in ('plain', 'mmopt')]
            faster = all(ratio(rounds, 'mmopt') < ratio(rounds, name) for name in slowest)
            musts.append(('toy: mmopt is faster than every trainer', faster))
        elif 'mmopt' in trainers:
            holds = ratio(rounds, 'mmopt') <= SLOWER_AT_MOST
            musts.append((f'{task}: mmopt takes at most {SLOWER_AT_MOST} of the plain loop', holds))
    if results['killed']:
        lines += [
            '**killed and resumed** (classifier, 11 M parameters)\n',
            '| trainer | bit-equal without workers | bit-equal with 2 workers | stall of a checkpoint ms | '
            'start to first step s | resume to first step s |',
            '|---|---|---|---|---|---|',
        ]
        for trainer, (alone, workers) in results['killed'].items():
            lines.append(
                f'| {trainer} | {"yes" if alone["bit_equal"] else "no"} | {"yes" if workers["bit_equal"] else "no"} | '
                f'{alone["stall_s"] * 1e3:.0f} | {alone["start_s"]:.1f} | {alone["resume_s"]:.1f} |'
            )
        if 'mmopt' in results['killed']:
            musts.append(('killed: mmopt ends bit-equal', all(row['bit_equal'] for row in results['killed']['mmopt'])))
        lines.append('')
    lines += [f'- {must}: {"pass" if holds else "FAIL"}' for must, holds in musts]
    return '\n'.join(lines), musts


def write(results: dict[str, Any], out: Path | None) -> None:
    if out is not None:
        out.with_suffix('.json').write_text(json.dumps(results, indent=1) + '\n')
        out.with_suffix('.md').write_text(report(results)[0] + '\n')


def versions(trainers: Sequence[str]) -> dict[str, str]:
    """Return the versions of the trainers.

    Raises:
        SystemExit: If one is not installed.
    """
    missing = [name for name in trainers if name in PACKAGES and importlib.util.find_spec(PACKAGES[name]) is None]
    if missing:
        raise SystemExit(
            f'peers.py: {", ".join(missing)} cannot be imported; install as the help says, or leave out by --trainers.'
        )
    found = [name for name in ('mmengine', *PACKAGES) if name in trainers]
    return {name: importlib.metadata.version(name) for name in found}


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    if args.child:
        run_child(args.child, args.settings)
        return 0
    trainers = ['plain', *(name for name in args.trainers if name != 'plain')]
    results: dict[str, Any] = dict(machine=describe_machine(), versions=versions(trainers), networks={}, killed={})
    for task in (name for name in args.tasks if name != 'killed'):
        for round_ in range(args.rounds):
            print(f'{task}: round {round_ + 1}/{args.rounds}', file=sys.stderr, flush=True)
            measured = time_network(task, trainers, round_, args.iters)
            results['networks'].setdefault(task, []).append(measured)
            write(results, args.out)
    if 'killed' in args.tasks:
        for trainer in trainers:
            print(f'killed: {trainer}', file=sys.stderr, flush=True)
            results['killed'][trainer] = [kill_and_resume(trainer, workers) for workers in (0, 2)]
            write(results, args.out)
    text, musts = report(results)
    print(text)
    return int(not all(holds for _, holds in musts))


if __name__ == '__main__':
    sys.exit(main())
