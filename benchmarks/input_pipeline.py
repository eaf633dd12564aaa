#!/usr/bin/env python
"""Measure what a training image of the BEV task costs on one core, from disk to a packed batch.

python benchmarks/input_pipeline.py
python benchmarks/input_pipeline.py --format png --images 32 --rounds 9 --out benchmarks/results/input_pipeline_X

Four ways take turns on the same files: the original pipeline written down literally (decode, 15 float maps, resize,
photometric distortion in floats, normalisation, transposition), mmopt's without a cache, and with one on disk and in
memory; and the floor, a copy of an 800x600 image. The original's published times are scaled by how long decoding took
here and there, as the demands on this benchmark are stated in them. What mmopt leaves to the device (distortion,
normalisation of the batch) is measured on the same core, too, and given beside: on a GPU it is free, on a CPU not.

The clock counts this process's CPU time, so that whatever else runs on the machine counts as little as possible;
`--wall` takes the time on the wall.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import mmcv
import numpy as np
import torch

from mmopt.datasets.bev import NuScenesBEVDataset
from mmopt.datasets.common import stack_collate
from mmopt.models.common import ImagePreprocessor
from mmopt.utils.machine import describe_machine
from mmopt.utils.malloc import keep_freed_pages
from mmopt.utils.seeding import SampleIndex

# Milliseconds per image of the original, on the machine where the demands were written.
PUBLISHED_MS = dict(
    jpg=dict(decode=5.1, photometric=3.2, normalise=1.3, label=1.2, resize=0.8, format=0.6, total=12.4),
    png=dict(decode=17.4, total=25.0),
)
DEMANDS = {'cache on disk': (5.0, 10.0), 'no cache': (1.8, 2.0)}  # must, aim: times the original's images per second
SIZE = (800, 600)
MEAN, STD = np.float32([123.675, 116.28, 103.53]), np.float32([58.395, 57.12, 57.375])
BATCH = 4
PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='LoadBEVLabel'),
    dict(type='Resize', img_scale=SIZE, keep_ratio=False),
    dict(type='DrawPhotometric'),
    dict(type='PackBEVInputs'),
]


clock = time.process_time


class Original:
    """The pipeline of mmcv 1.x and DiffBEV, step by step, with a clock on each."""

    def __init__(self) -> None:
        self.ms: dict[str, list[float]] = {}

    def _timed(self, name: str, function: Callable, *args):
        start = clock()
        value = function(*args)
        self.ms.setdefault(name, []).append(1e3 * (clock() - start))
        return value

    def __call__(self, img_path: str, label_path: str) -> dict:
        image = self._timed('decode', lambda: cv2.imdecode(np.fromfile(img_path, np.uint8), cv2.IMREAD_COLOR))
        maps = self._timed('label', self._label, label_path)
        image = self._timed('resize', mmcv.imresize, image, SIZE)
        image = self._timed('photometric', self._photometric, image)
        image = self._timed('normalise', mmcv.imnormalize, image, MEAN, STD, True)
        return self._timed('format', self._format, image, maps)

    def _label(self, path: str) -> torch.Tensor:
        bits = torch.from_numpy(cv2.imread(path, cv2.IMREAD_UNCHANGED).astype(np.int64))
        maps = (bits[None] & 2 ** torch.arange(15)[:, None, None]) > 0
        maps[14] = ~maps[14]
        return maps.float()

    def _convert(self, image: np.ndarray, alpha: float = 1.0, beta: float = 0.0) -> np.ndarray:
        return np.clip(image.astype(np.float32) * alpha + beta, 0, 255).astype(np.uint8)

    def _photometric(self, image: np.ndarray) -> np.ndarray:
        coin = lambda: np.random.randint(2)  # noqa: E731  short enough to be read in place
        if coin():
            image = self._convert(image, beta=np.random.uniform(-32, 32))
        contrast_first = coin()
        if contrast_first and coin():
            image = self._convert(image, alpha=np.random.uniform(0.5, 1.5))
        if coin():
            hsv = mmcv.bgr2hsv(image)
            hsv[:, :, 1] = self._convert(hsv[:, :, 1], alpha=np.random.uniform(0.5, 1.5))
            image = mmcv.hsv2bgr(hsv)
        if coin():
            hsv = mmcv.bgr2hsv(image)
            hsv[:, :, 0] = (hsv[:, :, 0].astype(int) + np.random.randint(-18, 18)) % 180
            image = mmcv.hsv2bgr(hsv)
        if not contrast_first and coin():
            image = self._convert(image, alpha=np.random.uniform(0.5, 1.5))
        return image

    def _format(self, image: np.ndarray, maps: torch.Tensor) -> dict:
        return dict(img=torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), gt_semantic_seg=maps)


def write_data(root: Path, count: int, suffix: str) -> None:
    """Write images whose decoding costs what a street scene's costs: coarse shapes, and texture all over."""
    for name in ('img_dir/train', 'ann_bev_dir/train'):
        (root / name).mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        shapes = cv2.resize(
            rng.integers(0, 256, (18, 32, 3), dtype=np.uint8), (1600, 900), interpolation=cv2.INTER_CUBIC
        )
        texture = cv2.resize(rng.normal(0, 22, (450, 800, 3)).astype(np.float32), (1600, 900))
        image = np.clip(shapes + texture, 0, 255).astype(np.uint8)
        cv2.imwrite(str(root / f'img_dir/train/{number:04}.{suffix}'), image, [cv2.IMWRITE_JPEG_QUALITY, 92])
        blocks = cv2.resize(
            rng.integers(0, 1 << 15, (28, 25), dtype=np.uint16), (200, 196), interpolation=cv2.INTER_NEAREST
        )
        cv2.imwrite(str(root / f'ann_bev_dir/train/{number:04}.png'), blocks)
    matrix = [[1266.4, 0.0, 816.3], [0.0, 1266.4, 491.5], [0.0, 0.0, 1.0]]
    (root / 'calib.json').write_text(json.dumps({f'{number:04}': matrix for number in range(count)}))


def ours(root: Path, cache: str | None = None) -> NuScenesBEVDataset:
    """Return mmopt's data set."""
    dataset = NuScenesBEVDataset(str(root), pipeline=PIPELINE)
    if cache is not None:
        dataset.prepare_cache(cache, root / 'cache')
    return dataset


def collated(dataset: NuScenesBEVDataset, epoch: int) -> list[dict]:
    """Load all samples in batches, as a worker does."""
    indices = [SampleIndex(index, 0, epoch) for index in range(len(dataset))]
    return [stack_collate([dataset[i] for i in indices[at : at + BATCH]]) for at in range(0, len(indices), BATCH)]


def measure(root: Path, count: int, rounds: int) -> tuple[dict[str, list[float]], dict[str, float]]:
    """Run all ways in turn.

    Returns:
        Milliseconds per image, a value per round; and the original's median step times.
    """
    original = Original()
    plain, on_disk, in_ram = ours(root), ours(root, 'disk'), ours(root, 'ram')
    paths = [plain.get_data_info(index) for index in range(count)]
    preprocessor = ImagePreprocessor(MEAN.tolist(), STD.tolist())
    image = np.zeros((*SIZE[::-1], 3), np.uint8)
    batches = collated(plain, 0)
    ways: dict[str, Callable[[int], object]] = {
        'original, literally': lambda epoch: [original(info['img_path'], info['label_path']) for info in paths],
        'no cache': lambda epoch: collated(plain, epoch),
        'cache on disk': lambda epoch: collated(on_disk, epoch),
        'cache in memory': lambda epoch: collated(in_ram, epoch),
        'left to the device': lambda epoch: [preprocessor(batch, True) for batch in batches],
        'floor: copy of 800x600': lambda epoch: [image.copy() for _ in range(count)],
    }
    for way in ways.values():
        way(0)
    original.ms.clear()
    ms: dict[str, list[float]] = {name: [] for name in ways}
    for epoch in range(1, rounds + 1):
        for name, way in list(ways.items())[:: 1 if epoch % 2 else -1]:
            start = clock()
            way(epoch)
            ms[name].append(1e3 * (clock() - start) / count)
        print(f'round {epoch}/{rounds}', file=sys.stderr)
    return ms, {name: statistics.median(values) for name, values in original.ms.items()}


def report(ms: dict[str, list[float]], steps: dict[str, float], suffix: str) -> tuple[str, dict]:
    """Return the report as Markdown, and the verdicts."""
    published = PUBLISHED_MS[suffix]
    factor = steps['decode'] / published['decode']
    scaled = published['total'] * factor
    lines = [f'Decoding takes {factor:.2f} of its published time here; the original scaled by it: {scaled:.2f} ms.\n']
    lines += ['| the original | ms here | ms published, scaled |', '|---|---|---|']
    for name, value in steps.items():
        there = f'{published[name] * factor:.2f}' if name in published else ''
        lines.append(f'| {name} | {value:.2f} | {there} |')
    head = '| one core | ms per image | images/s | over the original, literally | over the original, scaled |'
    lines += ['', head, '|---|---|---|---|---|']
    literal = ms['original, literally']
    verdicts: dict[str, dict] = {}
    for name, values in ms.items():
        median = statistics.median(values)
        paired = statistics.median(a / b for a, b in zip(literal, values, strict=True))
        lines.append(f'| {name} | {median:.2f} | {1e3 / median:.0f} | {paired:.2f} | {scaled / median:.2f} |')
        if name in DEMANDS:
            must, aim = DEMANDS[name]
            verdicts[name] = dict(ratio=scaled / median, literal_ratio=paired, must=must, aim=aim)
    lines.append('')
    for name, verdict in verdicts.items():
        for kind in ('must', 'aim'):
            word = 'pass' if verdict['ratio'] >= verdict[kind] else 'FAIL'
            lines.append(f'- {kind}: {name} at least {verdict[kind]:g}x: {verdict["ratio"]:.2f}x {word}')
    return '\n'.join(lines), verdicts


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--format', choices=('jpg', 'png'), default='jpg', help='of the images')
    parser.add_argument('--images', type=int, default=16)
    parser.add_argument('--rounds', type=int, default=7)
    parser.add_argument('--data-root', type=Path, help='a nuScenes folder to read instead of made images')
    parser.add_argument('--wall', action='store_true', help='wall time, which contention lengthens')
    parser.add_argument('--out', type=Path, help='write <out>.md and <out>.json')
    args = parser.parse_args()
    if args.wall:
        global clock
        clock = time.perf_counter
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    keep_freed_pages()  # as in every worker
    with tempfile.TemporaryDirectory() as folder:
        root = args.data_root or Path(folder)
        if args.data_root is None:
            write_data(root, args.images, args.format)
        ms, steps = measure(root, args.images, args.rounds)
    text, verdicts = report(ms, steps, args.format)
    print(text)
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        state = dict(machine=describe_machine(), format=args.format, steps_ms=steps, ms_per_image=ms, verdicts=verdicts)
        args.out.with_suffix('.json').write_text(json.dumps(state, indent=2) + '\n')
        args.out.with_suffix('.md').write_text(text + '\n')
    return int(any(verdict['ratio'] < verdict['must'] for verdict in verdicts.values()))


if __name__ == '__main__':
    sys.exit(main())
