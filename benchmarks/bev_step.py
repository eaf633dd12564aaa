#!/usr/bin/env python
"""Time one training step of the BEV baseline against its floor: counted FLOPs over this machine's matmul rate.

python benchmarks/bev_step.py                                  # fp32 and bf16, batch 1 and 4, on the CPU
python benchmarks/bev_step.py --device cuda
python benchmarks/bev_step.py --batch-sizes 1 --precisions bf16 --out step.json
python benchmarks/bev_step.py --upsampling --threads 1         # the head's transposed convolution in both ways

A step is: uint8 image to device, normalize, forward, loss, backward, fused AdamW. The matmul rate is measured between
the steps, so that a busy machine slows both sides alike. On a GPU fp32 means fp32, for steps and products: no TF32.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import torch
from mmengine.config import Config
from torch import nn

from mmopt.config import lower
from mmopt.engine.switches.process import tf32
from mmopt.models.common.patch_transpose import PatchTranspose2d
from mmopt.registry import MODELS
from mmopt.structures import DataSample
from mmopt.utils.flops import count_flops
from mmopt.utils.machine import MatmulRate, describe_machine
from mmopt.utils.malloc import keep_freed_pages

CONFIG = Path(__file__).resolve().parents[1] / 'configs/_base_/models/lss_swin.py'
DTYPES = dict(fp32=torch.float32, bf16=torch.bfloat16)
IMAGE_SIZE, LABEL_SIZE = (600, 800), (196, 200)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--batch-sizes', type=int, nargs='+', default=[1, 4])
    parser.add_argument('--precisions', nargs='+', choices=sorted(DTYPES), default=['fp32', 'bf16'])
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu')
    parser.add_argument('--steps', type=int, default=5, help='timed steps of every row')
    parser.add_argument('--threads', type=int, help='default: what torch chooses')
    parser.add_argument('--with-cp', action='store_true', help='recompute every Swin block, as the original does')
    parser.add_argument('--default-malloc', action='store_true', help='do not keep freed pages')
    parser.add_argument('--upsampling', action='store_true', help="time the head's transposed convolution instead")
    parser.add_argument('--out', type=Path, metavar='JSON')
    args = parser.parse_args(argv)
    if args.upsampling and args.device != 'cpu':
        parser.error('--upsampling counts processor time, so it needs --device cpu')
    return args


def make_batch(batch_size: int) -> dict:
    generator = torch.Generator().manual_seed(0)
    matrix = torch.tensor([[633.2, 0.0, 408.1], [0.0, 844.3, 327.7], [0.0, 0.0, 1.0]])
    samples = [
        DataSample(
            intrinsics=matrix.clone(),
            label_bits=torch.randint(0, 1 << 15, LABEL_SIZE, dtype=torch.int32, generator=generator),
        )
        for _ in range(batch_size)
    ]
    inputs = torch.randint(0, 256, (batch_size, 3, *IMAGE_SIZE), dtype=torch.uint8, generator=generator)
    return dict(inputs=inputs, data_samples=samples)


def make_step(batch_size: int, dtype: torch.dtype, with_cp: bool, device: torch.device) -> Callable[[], None]:
    torch.manual_seed(0)
    cfg = Config(lower(Config.fromfile(str(CONFIG)).to_dict())).model
    cfg.backbone.with_cp = with_cp
    model = MODELS.build(cfg).train().to(device)
    # Past the first step, in which the classifier's weight is zero and zeros may run faster.
    torch.nn.init.normal_(model.head.classifier.weight, std=0.01)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=True)
    batch = make_batch(batch_size)

    def step() -> None:
        part = model.data_preprocessor(batch, training=True)
        with torch.autocast(device.type, dtype) if dtype != torch.float32 else nullcontext():
            losses = model(**part, mode='loss')
        sum(losses.values()).backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if device.type != 'cpu':
            torch.accelerator.synchronize(device)

    return step


def measure(precision: str, batch_size: int, steps: int, with_cp: bool, device: torch.device) -> dict:
    dtype = DTYPES[precision]
    step, gemm = make_step(batch_size, dtype, with_cp, device), MatmulRate(dtype, device)
    flops = count_flops(step)
    step()
    seconds, rates = [], []
    for _ in range(steps):
        rates += [gemm() for _ in range(3)]
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    rates += [gemm() for _ in range(3)]
    rate, median = statistics.median(rates), statistics.median(seconds)
    return dict(
        precision=precision,
        batch_size=batch_size,
        gflop=flops / 1e9,
        gflop_per_s=rate / 1e9,
        floor_s=flops / rate,
        step_s=median,
        step_s_min=min(seconds),
        step_s_max=max(seconds),
        ratio=median * rate / flops,
        steps=steps,
    )


def measure_upsampling(precision: str, batch_size: int, steps: int) -> dict[str, float]:
    """Return processor seconds of forward and backward, the least of the steps, by torch's kernel and as a product."""
    layer = PatchTranspose2d(512, 256, 2, bias=False).to(DTYPES[precision])
    pixels = torch.randn(batch_size, 512, 98, 100, dtype=DTYPES[precision], requires_grad=True)
    ways = dict(kernel=partial(nn.ConvTranspose2d.forward, layer), product=layer.as_product)
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(steps):
        for name, way in ways.items():
            start = time.process_time()
            output = way(pixels)
            output.backward(torch.ones_like(output))
            seconds[name].append(time.process_time() - start)
    return {name: min(values) for name, values in seconds.items()}


def print_upsampling(args: argparse.Namespace) -> list[dict]:
    print('| precision | batch | kernel s | product s | product / kernel |\n|---|---|---|---|---|')
    rows = []
    for precision in args.precisions:
        for batch_size in args.batch_sizes:
            row = measure_upsampling(precision, batch_size, args.steps)
            cells = [f'{row[name]:.3f}' for name in ('kernel', 'product')] + [f'{row["product"] / row["kernel"]:.2f}']
            print(f'| {precision} | {batch_size} | {" | ".join(cells)} |', flush=True)
            rows.append(dict(precision=precision, batch_size=batch_size, **row))
    return rows


def print_steps(args: argparse.Namespace) -> list[dict]:
    print('| precision | batch | GFLOP | GEMM GFLOP/s | floor s | step s (min - max) | step / floor |')
    print('|---|---|---|---|---|---|---|')
    device = torch.device(args.device)
    if device.type == 'cuda':
        tf32(False)
    rows = []
    for precision in args.precisions:
        for batch_size in args.batch_sizes:
            row = measure(precision, batch_size, args.steps, args.with_cp, device)
            rows.append(row)
            print(
                f'| {precision} | {batch_size} | {row["gflop"]:.0f} | {row["gflop_per_s"]:.0f} | {row["floor_s"]:.3f} '
                f'| {row["step_s"]:.3f} ({row["step_s_min"]:.3f} - {row["step_s_max"]:.3f}) | {row["ratio"]:.2f} |',
                flush=True,
            )
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.threads:
        torch.set_num_threads(args.threads)
    keeps = not args.default_malloc and keep_freed_pages()
    machine = describe_machine() | dict(device=args.device, keeps_freed_pages=keeps, with_cp=args.with_cp)
    name = machine['cpu'] if args.device == 'cpu' else machine['gpu']
    print(f'{name}, {machine["threads"]} threads, torch {machine["torch"]}, '
          f'freed pages kept: {keeps}, blocks recomputed: {args.with_cp}\n')  # fmt: skip
    rows = print_upsampling(args) if args.upsampling else print_steps(args)
    if args.out:
        args.out.write_text(json.dumps(dict(machine=machine, rows=rows), indent=2) + '\n')


if __name__ == '__main__':
    main()
