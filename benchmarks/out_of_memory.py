"""Train a config on small cards that a large one pretends to be: which micro-batch is found, what it costs.

python benchmarks/out_of_memory.py configs/baseline/lss_swin_nuscenes.py --cards 24 12 8 6 4 --batch 32

Needs no data: batches are random inputs with the labels of the data set's example. Each row is a process of its own,
with a time limit, whose share of the card's memory is limited; one that fails says why. The time per iteration is the
median after the size was found, as a ratio to the first row. Results go to
benchmarks/results/out_of_memory_<gpu>.md.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

RESULTS = Path(__file__).parent / 'results'


def train(config: str, card_gib: float, batch: int, num_iters: int, options: list[str]) -> dict:
    """Run one row in this process.

    Args:
        config: Config file.
        card_gib: Memory of the pretended card, context included.
        batch: Samples per iteration.
        num_iters: Iterations.
        options: More options of the config.

    Returns:
        Found size, peaks in GiB, seconds per iteration.
    """
    import torch
    from gpu_suite.batches import use_examples

    from mmopt.apis.config import load_config
    from mmopt.apis.run.start import build_runner
    from mmopt.utils.memory import GIB

    device = torch.cuda.current_device()
    free, total = torch.cuda.mem_get_info()
    context = total - free  # other processes count too: use an idle card
    torch.cuda.set_per_process_memory_fraction(max(card_gib * GIB - context, 0) / total, device)
    with tempfile.TemporaryDirectory() as work_dir:
        cfg = load_config(
            config,
            options=[
                'optimize.micro_batch=auto',
                f'data.samples_per_gpu={batch}',
                f'runner.max_iters={num_iters}',
                'checkpoint_config.interval=100000',
                *options,
            ],
            work_dir=work_dir,
        )
        use_examples(cfg, batch * (num_iters + 1), num_workers=2)
        runner = build_runner(cfg)
        runner.train()
        times, _ = runner.message_hub.get_scalar('train/time').data
        size = runner.train_loop.step.state.size or batch
    return dict(
        card_gib=card_gib,
        micro_batch=size,
        peak_reserved_gib=torch.cuda.max_memory_reserved(device) / GIB,
        s_per_iter=statistics.median(times[len(times) // 2 :]),
        gpu=torch.cuda.get_device_name(device),
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('config')
    parser.add_argument('--cards', nargs='+', type=float, default=[80, 24, 16, 12, 8, 6, 4], metavar='GIB')
    parser.add_argument('--batch', type=int, default=32)
    parser.add_argument('--iters', type=int, default=40)
    parser.add_argument('--options', nargs='*', default=[])
    parser.add_argument('--timeout', type=float, default=300.0, metavar='S', help='of a row; default: 300')
    parser.add_argument('--one', action='store_true', help=argparse.SUPPRESS)  # a row, for the process of its own
    args = parser.parse_args()
    import torch

    if not torch.cuda.is_available():
        print('needs a CUDA device: it limits how much of its memory a run may take.', file=sys.stderr)
        return 2
    if args.one:
        print(json.dumps(train(args.config, args.cards[0], args.batch, args.iters, args.options)))
        return 0
    rows = []
    for card in args.cards:
        command = [sys.executable, __file__, args.config, '--one', '--cards', str(card), '--batch', str(args.batch)]
        command += ['--iters', str(args.iters), '--options', *args.options]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=args.timeout)
        except subprocess.TimeoutExpired:
            print(f'{card:g} GiB: not done after {args.timeout:g} s', file=sys.stderr)
            continue
        if done.returncode:
            reason = '\n'.join(done.stderr.strip().splitlines()[-20:])
            print(f'{card:g} GiB: exit code {done.returncode}\n{reason}', file=sys.stderr)
            continue
        rows.append(json.loads(done.stdout.splitlines()[-1]))
    if not rows:
        return 1
    lines = [
        f'# {args.config}, batch {args.batch}, on {rows[0]["gpu"]}',
        '',
        '| card | micro-batch found | peak reserved | time per iteration |',
        '|---|---|---|---|',
        *(
            f'| {row["card_gib"]:g} GiB | {row["micro_batch"]} | {row["peak_reserved_gib"]:.2f} GiB | '
            f'{row["s_per_iter"] / rows[0]["s_per_iter"]:.2f} x |'
            for row in rows
        ),
    ]
    name = rows[0]['gpu'].lower().replace(' ', '_')
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f'out_of_memory_{name}.md').write_text('\n'.join(lines) + '\n', encoding='utf-8')
    (RESULTS / f'out_of_memory_{name}.json').write_text(json.dumps(rows, indent=1) + '\n', encoding='utf-8')
    print('\n'.join(lines))
    return 0


if __name__ == '__main__':
    sys.exit(main())
