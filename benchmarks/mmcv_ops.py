#!/usr/bin/env python
"""Measure our ops in the place of mmcv's compiled extension: each alone, and their share of a training step.

python benchmarks/mmcv_ops.py --out benchmarks/results/mmcv_ops_NAME

Sizes are those of detectors on pictures of about 800 pixels. `--detector` also trains Faster R-CNN with a ResNet-50 of
an installed MMDetection 3 on random pictures of 320 pixels and says how much of a step passes in our ops; the exit code
is 1 if that is more than a quarter. Times are of one thread, and of the processor where there is no GPU: other
processes disturb them less.
"""

import argparse
import json
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from mmopt.mmcv1.extension import install_extension

install_extension()

from mmcv import ops  # noqa: E402 (the extension must be there first)
from mmcv.ops.multi_scale_deform_attn import MultiScaleDeformableAttnFunction  # noqa: E402

MOST_OF_A_STEP = 0.25


def clock(device: str) -> float:
    if device == 'cpu':
        return time.process_time()
    torch.cuda.synchronize()
    return time.perf_counter()


def boxes(num: int, side: float, device: str) -> Tensor:
    center, size = torch.rand(num, 2, device=device) * side, torch.rand(num, 2, device=device) * 100 + 10
    return torch.cat([center - size / 2, center + size / 2], dim=1)


def cases(device: str) -> Iterator[tuple[str, str, Callable[..., Tensor], tuple[Tensor, ...]]]:
    """Yield op, size, function and the tensors that it is called with; those that ask for a gradient get one."""

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, device=device, requires_grad=True)

    def index(top: int, *shape: int) -> Tensor:
        return torch.randint(0, top, shape, device=device)

    for num in (1000, 5000):
        scores = torch.rand(num, device=device)
        yield 'nms', f'{num} boxes', lambda b, s: ops.nms(b, s, 0.7)[0], (boxes(num, 800, device), scores)
    by_class = {'type': 'nms', 'iou_threshold': 0.5}
    yield (
        'batched_nms',
        '5000 boxes of 80 classes',
        lambda b, s, c: ops.batched_nms(b, s, c, by_class)[0],
        (boxes(5000, 800, device), torch.rand(5000, device=device), index(80, 5000)),
    )
    yield (
        'soft_nms',
        '1000 boxes, linear',
        lambda b, s: ops.soft_nms(b, s)[0],
        (boxes(1000, 800, device), torch.rand(1000, device=device)),
    )
    turned = torch.cat([boxes(2000, 800, device)[:, 2:], torch.rand(2000, 3, device=device) * 50 + 5], dim=1)
    yield (
        'nms_rotated',
        '2000 boxes',
        lambda b, s: ops.nms_rotated(b, s, 0.1)[0],
        (turned, torch.rand(2000, device=device)),
    )
    yield (
        'box_iou_rotated',
        '20000 x 50 boxes',
        ops.box_iou_rotated,
        (torch.cat([turned] * 10), turned[:50]),
    )
    yield 'bbox_overlaps', '20000 x 50 boxes', ops.bbox_overlaps, (boxes(20000, 800, device), boxes(50, 800, device))
    rois = torch.cat([index(2, 1024, 1), boxes(1024, 800, device).clamp(0, 800)], dim=1)
    features = draw(2, 256, 100, 100)
    for mode in ('avg', 'max'):
        layer = ops.RoIAlign(7, 1 / 8, pool_mode=mode)
        yield f'roi_align, {mode}', '1024 regions, 256 x 100 x 100', layer, (features, rois)
    yield 'roi_pool', '1024 regions, 256 x 100 x 100', ops.RoIPool(7, 1 / 8), (features, rois)
    turned_rois = torch.cat([index(2, 1024, 1), turned[:1024]], dim=1)
    rotated_layer = ops.RoIAlignRotated(7, 1 / 8, 2)
    yield 'roi_align_rotated', '1024 regions, 256 x 100 x 100', rotated_layer, (features, turned_rois)
    for name, loss in (('sigmoid', ops.SigmoidFocalLoss(2.0, 0.25)), ('softmax', ops.SoftmaxFocalLoss(2.0, 0.25))):
        yield f'{name}_focal_loss', '40000 x 80', loss.to(device), (draw(40000, 80), index(80, 40000))
    feature, offset, mask = draw(2, 256, 50, 50), draw(2, 18, 50, 50), draw(2, 9, 50, 50)
    first, second = ops.DeformConv2d(256, 256, 3, padding=1), ops.ModulatedDeformConv2d(256, 256, 3, padding=1)
    yield 'deform_conv2d', '2 x 256 x 50 x 50, 3 x 3', first.to(device), (feature, offset)
    yield 'modulated_deform_conv2d', '2 x 256 x 50 x 50, 3 x 3', second.to(device), (feature, offset, mask)
    shapes = torch.tensor([[50, 50], [25, 25], [13, 13], [7, 7]], device=device)
    starts = torch.cat([shapes.new_zeros(1), shapes.prod(dim=1).cumsum(0)[:-1]])
    num_values = int(shapes.prod(dim=1).sum())
    places = torch.rand(2, num_values, 8, 4, 4, 2, device=device, requires_grad=True)
    yield (
        'ms_deform_attn',
        f'2 x {num_values} queries, 8 heads of 32, 4 x 4 samples',
        lambda value, where, weights: MultiScaleDeformableAttnFunction.apply(value, shapes, starts, where, weights, 64),
        (draw(2, num_values, 8, 32), places, draw(2, num_values, 8, 4, 4)),
    )
    yield 'carafe', '2 x 256 x 50 x 50, twice the size, 5 x 5', ops.CARAFE(5, 1, 2), (feature, draw(2, 25, 100, 100))
    yield 'psa_mask', '2 x 59 * 59 x 30 x 30', ops.PSAMask('collect', (59, 59)), (draw(2, 59 * 59, 30, 30),)


def measure(function: Callable[..., Tensor], tensors: tuple[Tensor, ...], repeats: int, device: str) -> dict:
    """Return median milliseconds of the forward pass, and of the backward pass where there is one."""
    forward, backward = [], []
    for _ in range(repeats + 1):
        start = clock(device)
        output = function(*tensors)
        forward.append(clock(device) - start)
        if output.requires_grad:
            start = clock(device)
            output.backward(torch.ones_like(output))
            backward.append(clock(device) - start)
    # The first call also allocates what the others find.
    times = {'forward_ms': statistics.median(forward[1:]) * 1e3}
    return times | ({'backward_ms': statistics.median(backward[1:]) * 1e3} if backward else {})


def measure_detector(repeats: int, device: str) -> dict:
    """Return milliseconds of a step of Faster R-CNN, and of those in each op."""
    import mmdet
    from mmdet.registry import MODELS
    from mmdet.structures import DetDataSample
    from mmdet.utils import register_all_modules
    from mmengine.config import Config
    from mmengine.structures import InstanceData

    register_all_modules()
    base = Path(mmdet.__file__).parent / '.mim/configs/_base_/models/faster-rcnn_r50_fpn.py'
    config = Config.fromfile(base).model
    config.backbone.init_cfg = None
    model = MODELS.build(config).to(device).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4, momentum=0.9)
    in_ops = timed_extension(device)
    steps: list[float] = []
    shares: dict[str, list[float]] = defaultdict(list)
    for repeat in range(repeats + 1):
        samples = []
        for _ in range(2):
            sample = DetDataSample(metainfo={'img_shape': (320, 320), 'pad_shape': (320, 320), 'scale_factor': (1, 1)})
            sample.gt_instances = InstanceData(
                bboxes=boxes(8, 300, device).clamp(0, 320), labels=torch.randint(0, 80, (8,), device=device)
            )
            samples.append(sample)
        in_ops.clear()
        start = clock(device)
        losses = model.loss(torch.randn(2, 3, 320, 320, device=device), samples)
        sum(
            loss if isinstance(loss, Tensor) else sum(loss) for name, loss in losses.items() if 'loss' in name
        ).backward()
        optimizer.step()
        optimizer.zero_grad()
        if repeat:
            steps.append((clock(device) - start) * 1e3)
            for name, seconds in in_ops.items():
                shares[name].append(seconds * 1e3)
    per_op = {name: statistics.median(times) for name, times in shares.items()}
    step = statistics.median(steps)
    return {
        'mmdet': mmdet.__version__,
        'step_ms': step,
        'ops_ms': per_op,
        'share': sum(per_op.values()) / step,
    }


def timed_extension(device: str) -> dict[str, float]:
    """Make each function of the extension add its seconds to the result."""
    extension = sys.modules['mmcv._ext']
    seconds: dict[str, float] = defaultdict(float)

    def timed(name: str, function: Callable) -> Callable:
        def call(*args: object, **kwargs: object) -> object:
            start = clock(device)
            result = function(*args, **kwargs)
            seconds[name] += clock(device) - start
            return result

        return call

    for name in dir(extension):
        setattr(extension, name, timed(name, getattr(extension, name)))
    return seconds


def to_markdown(result: dict, command: str) -> str:
    lines = [
        f'`{command}`, {result["machine"]}, torch {result["torch"]}, one thread, medians of {result["repeats"]}:',
        '',
        '| op | size | forward, ms | backward, ms |',
        '|---|---|---|---|',
    ]
    for row in result['ops']:
        backward = f'{row["backward_ms"]:.1f}' if 'backward_ms' in row else ''
        lines.append(f'| {row["op"]} | {row["size"]} | {row["forward_ms"]:.1f} | {backward} |')
    if detector := result.get('detector'):
        parts = ', '.join(f'{name} {ms:.0f}' for name, ms in sorted(detector['ops_ms'].items(), key=lambda i: -i[1]))
        lines += [
            '',
            f'A step of Faster R-CNN R50-FPN (MMDetection {detector["mmdet"]}, 2 x 3 x 320 x 320): '
            f'{detector["step_ms"]:.0f} ms, {detector["share"]:.1%} of it in our ops (ms: {parts}).',
        ]
    return '\n'.join(lines) + '\n'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--repeats', type=int, default=5)
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--machine', default='this machine', help='what the results say of the machine')
    parser.add_argument('--detector', action='store_true', help='train Faster R-CNN of an installed MMDetection 3')
    parser.add_argument('--out', type=Path, help='write the figures to this path, as .json and .md')
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    rows = []
    for name, size, function, tensors in cases(args.device):
        rows.append({'op': name, 'size': size} | measure(function, tensors, args.repeats, args.device))
        print(rows[-1], file=sys.stderr)
    result = {'machine': args.machine, 'torch': torch.__version__, 'repeats': args.repeats, 'ops': rows}
    if args.detector:
        result['detector'] = measure_detector(args.repeats, args.device)
    text = to_markdown(result, 'python benchmarks/mmcv_ops.py' + ' --detector' * args.detector)
    print(text)
    if args.out:
        args.out.with_suffix('.json').write_text(json.dumps(result, indent=1) + '\n')
        args.out.with_suffix('.md').write_text(text)
    return int(args.detector and result['detector']['share'] > MOST_OF_A_STEP)


if __name__ == '__main__':
    sys.exit(main())
