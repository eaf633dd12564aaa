#!/usr/bin/env python
"""Make the BEV layout (images, 14-class label maps, camera matrices) from nuScenes or from one key frame.

python tools/datasets/prepare_nuscenes.py /data/nuscenes                      # -> data/nuscenes; needs '.[nuscenes]'
python tools/datasets/prepare_nuscenes.py /data/nuscenes --version v1.0-mini --out data/nuscenes_mini
python tools/datasets/prepare_nuscenes.py /data/nuscenes --split-file pon.json --workers 16
python tools/datasets/prepare_nuscenes.py /data/keyframe --out data/keyframe  # a folder with keyframe.json

Stopped runs go on where they stopped: finished samples are skipped. nuScenes needs the metadata, the key frames' images
(samples/CAM_FRONT) and LiDAR sweeps (samples/LIDAR_TOP), and the map expansion (maps/expansion/*.json).
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.utils.host import usable_cores
from mmopt.utils.shipped import tool_command


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('source', type=Path, help='nuScenes folder (v1.0-*, samples, maps), or a key frame')
    parser.add_argument('--out', type=Path, default=Path('data/nuscenes'), metavar='DIR', help='default: %(default)s')
    parser.add_argument('--version', help='folder of the tables, if there are several: v1.0-trainval, v1.0-mini')
    parser.add_argument(
        '--split-file', type=Path, metavar='JSON',
        help='{"train": [scene names], "val": [...]}; default: the official split',
    )  # fmt: skip
    parser.add_argument(
        '--cameras', nargs='+', metavar='CAM', help='default: CAM_FRONT of nuScenes, all cameras of a key frame'
    )
    parser.add_argument(
        '--occlusion', choices=('lidar', 'boxes', 'none'),
        help='what hides cells; default: lidar for nuScenes (as published), boxes for a key frame',
    )  # fmt: skip
    parser.add_argument(
        '--link', choices=('auto', 'hard', 'symlink', 'copy'), default='auto',
        help='how images get there; auto: a hard link, or a symlink to another file system',
    )  # fmt: skip
    parser.add_argument('--workers', type=int, default=min(usable_cores(), 8), help='default: %(default)s')
    parser.add_argument('--preview', type=int, default=4, metavar='N', help='pictures to draw; default: %(default)s')
    parser.add_argument('--force', action='store_true', help='make finished samples anew')
    parser.add_argument('--skip-missing', action='store_true', help='leave out samples whose files are not there')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # After the arguments: importing torch takes seconds.
    from mmopt.datasets.bev.prepare import Options, prepare, summarize

    summary = prepare(
        Options(
            source=args.source,
            out=args.out,
            version=args.version,
            split_file=args.split_file,
            cameras=args.cameras,
            occlusion=args.occlusion,
            link=args.link,
            num_workers=max(args.workers, 0),
            num_previews=max(args.preview, 0),
            force=args.force,
            skip_missing=args.skip_missing,
        )
    )
    print(summarize(summary))
    config = 'configs/baseline/lss_swin_nuscenes.py'
    print(f'next: {tool_command("train", config, "--options", f"data.data_root={args.out}")}')


if __name__ == '__main__':
    run_tool(main, goes_on=True)
