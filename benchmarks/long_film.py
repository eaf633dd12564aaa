#!/usr/bin/env python
"""Measure the memory that films of several lengths take to predict, each in a process of its own.

python benchmarks/long_film.py --minutes 6 120 --step 40

The films are made up: 30 frames per second of 96x160. A small YOLOv5 with random weights predicts every Nth frame;
json, COCO's json, a table and the film with its boxes are written. The peak of the process's memory is printed; exit
code 1 if the last film takes more than a tenth more than the first.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

RATE = 30


def write_film(path: Path, num_frames: int) -> None:
    """Write flat frames, whose gray tells their number modulo 200."""
    import av

    with av.open(str(path), 'w') as container:
        stream = container.add_stream('libx264', rate=RATE, options=dict(preset='ultrafast', bf='0'))
        stream.height, stream.width, stream.pix_fmt = 96, 160, 'yuv420p'
        stream.codec_context.thread_count = 1
        planes = np.full((144, 160), 128, np.uint8)
        for number in range(num_frames):
            planes[:96] = number % 200
            container.mux(stream.encode(av.VideoFrame.from_ndarray(planes, format='yuv420p')))
        container.mux(stream.encode(None))


def predict(film: Path, step: int, folder: Path) -> dict[str, float]:
    """Predict a film in this process, and return what it took."""
    import torch
    from mmengine.registry import init_default_scope

    from mmopt.apis import Predictor, load_config
    from mmopt.apis.predict.run import predict_into
    from mmopt.apis.run.facts import model_config
    from mmopt.engine import checkpoint_io
    from mmopt.registry import MODELS
    from mmopt.utils.platform import peak_resident_bytes

    config = Path(__file__).resolve().parents[1] / 'configs' / 'demo' / 'yolov5_fred_rgb.py'
    cfg = load_config(str(config), options=['model.backbone.width=0.125'])
    init_default_scope('mmopt')
    torch.manual_seed(0)
    model = MODELS.build(model_config(cfg))
    meta = dict(iter=1, epoch=1, mmopt_version='', precision='fp32', cfg=cfg.pretty_text)
    meta['dataset_meta'] = dict(classes=['drone'])
    checkpoint_io.save(folder / 'model.pth', dict(meta=meta, state_dict=model.state_dict()))
    predictor = Predictor(folder / 'model.pth', device='cpu', batch_size=8)
    before, start = peak_resident_bytes(), time.perf_counter()
    done = predict_into(predictor, [str(film)], folder / 'out', step=step, confidence=0.01)
    seconds = time.perf_counter() - start
    mib = 1024**2
    return dict(frames=done.num_new, seconds=seconds, before_mib=before / mib, peak_mib=peak_resident_bytes() / mib)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, nargs='+', default=[6, 120])
    parser.add_argument('--step', type=int, default=40)
    parser.add_argument('--film', type=Path, help=argparse.SUPPRESS)  # of the child process
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix='mmopt-film-') as name:
        if args.film is not None:
            print(json.dumps(predict(args.film, args.step, Path(name))))
            return 0
        print('| film | frames predicted | s | MiB before | MiB peak |\n|---|---|---|---|---|')
        peaks = []
        for minutes in args.minutes:
            film = Path(name, f'{minutes:g}.mp4')
            write_film(film, round(minutes * 60 * RATE))
            command = [sys.executable, __file__, '--film', str(film), '--step', str(args.step)]
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            peaks.append(row['peak_mib'])
            print(
                f'| {minutes:g} min, {round(minutes * 60 * RATE)} frames | {row["frames"]} | {row["seconds"]:.0f} '
                f'| {row["before_mib"]:.0f} | {row["peak_mib"]:.0f} |',
                flush=True,
            )
    return int(peaks[-1] > 1.1 * peaks[0])


if __name__ == '__main__':
    sys.exit(main())
