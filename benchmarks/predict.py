#!/usr/bin/env python
"""Compare a prediction into files with the bare model, and with a loop as MMEngine's inferencers run.

python benchmarks/predict.py --rounds 5 --out benchmarks/results/predict
python benchmarks/predict.py --rounds 5 --out benchmarks/results/predict_cpu_time --cpu-time    # on a busy machine

In every round, one after the other in one process, for each task:

bare            the model's test_step on batches that lie ready in memory
results         predict_into with json and csv: read, predict, write
pictures        predict_into with what the inferencer writes: json, drawn pictures, labels of segmentations and maps
inferencer      one picture at a time, as MMEngine's BaseInferencer: the test pipeline, a batch of one, drawing with
                MMEngine's Visualizer, writing the drawn picture (JPEG, where mmopt writes PNG) and a json. Boxes have
                texts; a segmentation has colors that NumPy blends and names in the middle of the widest row of a class;
                a map is drawn as mmopt draws it

The models are those of the demos. With a heavier one all ways come closer to each other: the model is most of them.
Pictures are made up: scenes with texture, as JPEG. Weights are random; a threshold leaves five boxes per picture. A
ratio is of the same round, its median and its range are shown. Exit code 1: a must is missed.

With --cpu-time the pictures of a second of processor time are counted, with one thread of torch: other processes
disturb less, but what overlaps counts twice, so that no must can be told from it.
"""

import argparse
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import psutil
import torch
from mmengine.registry import init_default_scope
from mmengine.visualization import Visualizer

from mmopt.apis import Predictor, load_config
from mmopt.apis.predict.run import predict_into
from mmopt.apis.run.facts import model_config
from mmopt.datasets.common.predict import predict_sample
from mmopt.engine import checkpoint_io
from mmopt.registry import MODELS
from mmopt.utils.host import usable_cores
from mmopt.utils.machine import describe_machine

REPO = Path(__file__).resolve().parents[1]
MUSTS = dict(bare=0.85, inferencer=1.5)
AIMS = dict(bare=0.95, inferencer=2.5)
WRITTEN = dict(detection=['json', 'png'], segmentation=['json', 'png', 'overlay'], bev=['json', 'png', 'overlay'])
"""What an inferencer writes of a task, as formats."""
_BOXES = 5


@dataclass(frozen=True)
class Case:
    """A model and its pictures.

    Attributes:
        config: Below configs/.
        options: What is changed of it.
        size: Height and width of the pictures.
        title: For the table.
        said: What is said of the sources.
    """

    config: str
    options: tuple[str, ...]
    size: tuple[int, int]
    title: str
    said: tuple[tuple[str, str], ...] = ()


_NETWORK = [
    dict(type='LoadImageFromFile'),
    dict(type='Letterbox', size=(384, 640)),
    dict(type='PackDetection'),
]
CASES = dict(
    detection=Case(
        'demo/yolov5_fred_rgb.py',
        (f'data.test.pipeline={_NETWORK!r}',),
        (720, 1280),
        'YOLOv5n at 384x640, pictures of 720x1280',
    ),
    segmentation=Case(
        'demo/bisenetv2_cityscapes.py',
        ('model.eval_flip=False',),
        (216, 384),
        'BiSeNetV2 at half width, pictures of 216x384',
    ),
    bev=Case(
        'demo/lss_swin_nuscenes.py',
        (),
        (900, 1600),
        'Lift-Splat-Shoot of the demo, pictures of 900x1600',
        (('intrinsics', '1266,1266,816,491'),),
    ),
)


def write_pictures(folder: Path, count: int, size: tuple[int, int]) -> list[str]:
    """Write pictures whose coding costs what a scene's costs: coarse shapes, and texture all over."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    paths = []
    for number in range(count):
        coarse = rng.integers(0, 256, (9, 16, 3), dtype=np.uint8)
        shapes = cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)
        fine = rng.normal(0, 12, (size[0] // 2, size[1] // 2, 3)).astype(np.float32)
        picture = np.clip(shapes + cv2.resize(fine, size[::-1]), 0, 255).astype(np.uint8)
        paths.append(str(folder / f'{number:05d}.jpg'))
        cv2.imwrite(paths[-1], picture, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return paths


def save_model(case: Case, path: Path) -> None:
    """Save random weights with their config, as a training does."""
    torch.manual_seed(0)
    cfg = load_config(str(REPO / 'configs' / case.config), options=list(case.options))
    init_default_scope('mmopt')
    model = MODELS.build(model_config(cfg))
    with torch.no_grad():
        for _ in range(4):
            if 'lss' not in case.config:  # it asks for camera matrices, and normalizes over channels
                model(torch.randn(2, 3, 128, 256), mode='tensor')  # statistics for the normalization
    meta = dict(iter=1, epoch=1, mmopt_version='', precision='fp32', cfg=cfg.pretty_text)
    meta['dataset_meta'] = dict(classes=['drone']) if 'yolo' in case.config else None
    checkpoint_io.save(path, dict(meta=meta, state_dict=model.state_dict()))


def few_boxes(predictor: Predictor, paths: list[str]) -> None:
    """Let the detector keep about five boxes per picture: its weights are random."""
    model = predictor.model
    if not hasattr(model, 'score_threshold'):
        return
    model.score_threshold = 0.0
    scores = [np.sort(result.scores)[::-1][:_BOXES] for result in predictor(paths[:4])]
    model.score_threshold = float(min(found[-1] for found in scores))
    model.max_detections = _BOXES


class Inferencer:
    """One picture after the other, as MMEngine's BaseInferencer: load, forward, draw, write."""

    def __init__(self, predictor: Predictor, task: str, out: Path) -> None:
        self.predictor = predictor
        self.task = task
        self.out = out
        self.visualizer = Visualizer()

    def __call__(self, paths: list[str]) -> None:
        shutil.rmtree(self.out, ignore_errors=True)
        for folder in ('vis', 'preds'):
            (self.out / folder).mkdir(parents=True)
        for item in self.predictor.list_items(paths):
            path = item.file
            sample = predict_sample(self.predictor.dataset, item.source)
            predicted = self.predictor._predict([sample])[0]
            image = cv2.cvtColor(cv2.imread(path), cv2.COLOR_BGR2RGB)  # they read it again for the drawing
            source = item.source if self.task == 'bev' else image
            result = self.predictor.dataset.to_result(predicted.cpu(), source)
            drawn = dict(detection=self._boxes, segmentation=self._colors, bev=self._map)[self.task](image, result)
            cv2.imwrite(str(self.out / 'vis' / Path(path).name), cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))
            if self.task != 'detection':
                label = result.label if self.task == 'segmentation' else result.bits
                cv2.imwrite(str(self.out / 'preds' / f'{Path(path).stem}.png'), label)
            (self.out / 'preds' / f'{Path(path).stem}.json').write_text(json.dumps(result.to_json()))

    def _boxes(self, image: np.ndarray, result: Any) -> np.ndarray:
        self.visualizer.set_image(image)
        if len(result.boxes):
            self.visualizer.draw_bboxes(torch.from_numpy(result.boxes), edge_colors='r', alpha=0.8, line_widths=3)
        ground = [dict(facecolor='black', alpha=0.8, pad=0.7, edgecolor='none')]
        for box, name, score in zip(result.boxes, result.names, result.scores, strict=True):
            self.visualizer.draw_texts(f'{name}: {100 * score:.1f}', box[:2], colors='r', font_sizes=13, bboxes=ground)
        return self.visualizer.get_image()

    def _colors(self, image: np.ndarray, result: Any) -> np.ndarray:
        mask = np.zeros_like(image)
        for label in np.unique(result.label):
            mask[result.label == label] = result.palette[label]
        scale = min(image.shape[:2]) / 500
        for label in np.unique(result.label):
            places = np.argwhere(result.label == label)
            rows, counts = np.unique(places[:, 0], return_counts=True)
            row = int(rows[counts.argmax()])
            columns = places[places[:, 0] == row, 1]
            left, name = int(columns[len(columns) // 2]), result.classes[label]
            (width, height), below = cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, scale, 1)
            corner = left + width + below, row + height + below
            cv2.rectangle(mask, (left, row), corner, result.palette[label], -1)
            cv2.rectangle(mask, (left, row), corner, (0, 0, 0), 1)
            cv2.putText(mask, name, (left, row + height), cv2.FONT_HERSHEY_SIMPLEX, scale, (255, 255, 255), 1)
        blended = (image * 0.2 + mask * 0.8).astype(np.uint8)
        self.visualizer.set_image(blended)
        return self.visualizer.get_image()

    def _map(self, image: np.ndarray, result: Any) -> np.ndarray:
        self.visualizer.set_image(result.draw())  # MMEngine draws no maps
        return self.visualizer.get_image()


def ready_batches(predictor: Predictor, paths: list[str], size: int) -> list[Any]:
    """Return collated batches in memory."""
    samples = [predict_sample(predictor.dataset, item.source) for item in predictor.list_items(paths)]
    return [predictor._collate(samples[start : start + size]) for start in range(0, len(samples), size)]


def ways_of(predictor: Predictor, task: str, paths: list[str], folder: Path) -> dict[str, Callable[[], None]]:
    """Return what takes turns."""
    batches = ready_batches(predictor, paths, predictor.batch_size.size)

    def bare() -> None:
        with torch.no_grad():
            for batch in batches:
                predictor._in_parts(batch)

    def ours(formats: list[str] | None) -> Callable[[], None]:
        def run() -> None:
            shutil.rmtree(folder / 'out', ignore_errors=True)
            done = predict_into(predictor, paths, folder / 'out', formats=formats)
            assert done.num_new == len(paths), done

        return run

    inferencer = Inferencer(predictor, task, folder / 'inferencer')
    return dict(
        bare=bare,
        results=ours(['json', 'csv']),
        pictures=ours(WRITTEN[task]),
        inferencer=lambda: inferencer(paths),
    )


def measure(
    task: str, count: int, rounds: int, batch: int, clock: Callable[[], float], say: Callable[[str], object]
) -> dict[str, list[float]]:
    """Return pictures per second of each way, one value per round."""
    case = CASES[task]
    with tempfile.TemporaryDirectory(prefix='mmopt-predict-') as folder_name:
        folder = Path(folder_name)
        paths = write_pictures(folder / 'in', count, case.size)
        save_model(case, folder / 'model.pth')
        predictor = Predictor(
            folder / 'model.pth', device='cpu', precision='fp32', batch_size=batch, source_options=dict(case.said)
        )
        few_boxes(predictor, paths)
        ways = ways_of(predictor, task, paths, folder)
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for number in range(rounds + 1):
            for name, run in ways.items():
                start = clock()
                run()
                if number:  # the first one warms up
                    rates[name].append(count / (clock() - start))
            say(f'{task}: round {number}/{rounds}, load {psutil.getloadavg()[0]:.1f}')
    return rates


def ratios(rates: dict[str, list[float]]) -> Iterator[tuple[str, str, list[float]]]:
    """Give what is compared, with whom, and the ratio of every round."""
    for name, other in (('results', 'bare'), ('pictures', 'bare'), ('pictures', 'inferencer')):
        yield name, other, [mine / theirs for mine, theirs in zip(rates[name], rates[other], strict=True)]


def table(
    results: dict[str, dict[str, list[float]]], machine: str, load: str, *, is_cpu_time: bool
) -> tuple[str, bool]:
    """Return the tables as Markdown, and whether every must holds."""
    unit = 'pictures per second of processor time' if is_cpu_time else 'pictures/s'
    command = f'python benchmarks/predict.py{" --cpu-time" if is_cpu_time else ""}'
    lines = [
        "# A prediction into files, the bare model, and a loop as MMEngine's inferencers run",
        '',
        f'`{command}`, {machine}. Medians, and in brackets the range over the rounds. {load}',
        '',
        f'| task | way | {unit} |',
        '|---|---|---|',
    ]
    for task, rates in results.items():
        lines += [f'| {CASES[task].title} | {name} | {_spread(values)} |' for name, values in rates.items()]
    lines += ['', '| task | ratio | measured | must | aim |', '|---|---|---|---|---|']
    holds = True
    for task, rates in results.items():
        for name, other, values in ratios(rates):
            reached = statistics.median(values) >= MUSTS[other]
            # With pictures the bare model is no must: coding a picture takes as long as a small model.
            counts = not is_cpu_time and (other == 'inferencer' or name == 'results')
            holds &= reached or not counts
            verdict = f'{MUSTS[other]}: {"reached" if reached else "missed"}' if counts else '-'
            aim = f'{AIMS[other]}: {"reached" if statistics.median(values) >= AIMS[other] else "missed"}'
            lines.append(f'| {task} | {name} / {other} | {_spread(values)} | {verdict} | {aim if counts else "-"} |')
    return '\n'.join(lines) + '\n', holds


def _spread(values: list[float]) -> str:
    return f'{statistics.median(values):.3g} ({min(values):.3g} - {max(values):.3g})'


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--tasks', nargs='+', choices=CASES, default=list(CASES))
    parser.add_argument('--pictures', type=int, default=64, help='per task')
    parser.add_argument('--rounds', type=int, default=5)
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--out', type=Path, help='write OUT.json and OUT.md')
    parser.add_argument('--cpu-time', action='store_true', help='count the time of the processor')
    args = parser.parse_args()
    if args.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if args.cpu_time else time.perf_counter
    begin = psutil.getloadavg()[0]
    results = {
        task: measure(task, args.pictures, args.rounds, args.batch, clock, lambda text: print(text, file=sys.stderr))
        for task in args.tasks
    }
    machine = describe_machine()
    where = (
        f'{usable_cores()} cores of an {machine["cpu"]}, {machine["threads"]} threads, torch {machine["torch"]}, fp32'
    )
    load = f'The load of the machine was {begin:.1f} before and {psutil.getloadavg()[0]:.1f} behind it.'
    text, holds = table(results, where, load, is_cpu_time=args.cpu_time)
    print(text)
    if args.out:
        report = dict(
            machine=machine, load=load, pictures=args.pictures, batch=args.batch, pictures_per_s=results,
            ratios={task: {f'{name}/{other}': values for name, other, values in ratios(rates)}
                    for task, rates in results.items()},
        )  # fmt: skip
        args.out.with_suffix('.json').write_text(json.dumps(report, indent=1) + '\n')
        args.out.with_suffix('.md').write_text(text)
    return int(not holds)


if __name__ == '__main__':
    sys.exit(main())
