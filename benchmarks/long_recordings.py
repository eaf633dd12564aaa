#!/usr/bin/env python
"""Measure the memory that predicting a long recording of three views takes, beside that of a short one.

python benchmarks/long_recordings.py
python benchmarks/long_recordings.py --minutes 2 120

The films are made up (64x64 pixels, 10 frames per second), the model is the demo's SlowOnly with random weights. Each
length is predicted in a process of its own, whose peak of resident memory is given, and the minutes of film per minute.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mmopt.utils.platform import peak_resident_bytes

REPO = Path(__file__).resolve().parents[1]
VIEWS = ('front', 'left', 'right')
RATE, SIDE = 10, 64
MIB = 1 << 20


def make_films(folder: Path, minutes: float) -> None:
    """Write a film per view: noise that moves."""
    import av

    noise = np.random.default_rng(0).integers(0, 256, (SIDE, 4 * SIDE, 3), dtype=np.uint8)
    for view in VIEWS:
        with av.open(str(folder / f'{view}.mp4'), 'w') as file:
            stream = file.add_stream('mpeg4', rate=RATE)
            stream.height = stream.width = SIDE
            stream.pix_fmt = 'yuv420p'
            stream.codec_context.gop_size = RATE
            for number in range(round(minutes * 60 * RATE)):
                left = number % (3 * SIDE)
                image = np.ascontiguousarray(noise[:, left : left + SIDE])
                file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format='rgb24')))
            file.mux(stream.encode())


def save_model(path: Path) -> None:
    """Write a checkpoint that knows its config."""
    from mmengine.registry import init_default_scope

    import mmopt
    from mmopt.apis.config import load_config
    from mmopt.apis.run.facts import model_config
    from mmopt.engine import checkpoint_io
    from mmopt.registry import MODELS

    cfg = load_config(REPO / 'configs' / 'demo' / 'video_conv3d_driver.py')
    init_default_scope('mmopt')
    model = MODELS.build(model_config(cfg))
    meta = dict(iter=1, epoch=1, mmopt_version=mmopt.__version__, precision='fp32', cfg=cfg.pretty_text)
    checkpoint_io.save(path, dict(meta=meta, state_dict=model.state_dict()))


def predict(checkpoint: str, folder: str) -> None:
    """Predict one recording and print peak and seconds."""
    from mmopt.apis import Predictor

    predictor = Predictor(checkpoint, batch_size=8)
    start = time.perf_counter()
    (result,) = predictor(folder)
    print(peak_resident_bytes(), time.perf_counter() - start, len(result.segments))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--minutes', type=float, nargs='+', default=[1.0, 20.0], help='default: 1 20')
    parser.add_argument('--child', nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.child:
        predict(*args.child)
        return
    with tempfile.TemporaryDirectory() as temporary:
        checkpoint = Path(temporary) / 'weights.pth'
        save_model(checkpoint)
        for minutes in args.minutes:
            folder = Path(temporary) / f'{minutes:g}'
            folder.mkdir()
            make_films(folder, minutes)
            command = [sys.executable, __file__, '--child', str(checkpoint), str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            peak_bytes, seconds, num_windows = done.stdout.split()[-3:]
            print(
                f'{minutes:g} min of three views, {num_windows} windows: peak {int(peak_bytes) / MIB:.0f} MiB, '
                f'{minutes * 60 / float(seconds):.1f} min of film per minute',
                flush=True,
            )


if __name__ == '__main__':
    main()
