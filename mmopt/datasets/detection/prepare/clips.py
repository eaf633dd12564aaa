"""Annotated videos to COCO's layout: a video and a CSV with one row per box.

The CSV has the columns ``frame,label,x,y,width,height``: frame from 0, pixels from the upper left corner; a frame
without a row has no box. Frames are written as images once, because seeking in a compressed video costs more than
training does.
"""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.common.film.frame_index import FrameIndex
from mmopt.datasets.common.film.reader import VideoReader
from mmopt.datasets.detection.prepare.coco_json import CocoJson
from mmopt.utils.errors import DataError, DataNotFoundError, UserError

__all__ = ['Clip', 'import_clips', 'read_boxes']

_COLUMNS = ('frame', 'label', 'x', 'y', 'width', 'height')


@dataclass(frozen=True)
class Clip:
    """A video and its boxes.

    Attributes:
        video: Any file that PyAV reads.
        boxes: The CSV; by default it lies beside the video under the same name.
    """

    video: Path
    boxes: Path | None = None


def read_boxes(path: Path) -> dict[int, list[tuple[str, float, float, float, float]]]:
    """Read the CSV.

    Returns:
        By frame: label in lower case, x, y, width, height.

    Raises:
        DataNotFoundError: If the file is missing.
        DataError: If a column is missing or a row is not numbers.
    """
    if not path.is_file():
        raise DataNotFoundError(f'{path} does not exist: a video needs a CSV of its name with {",".join(_COLUMNS)}.')
    boxes: dict[int, list] = {}
    with path.open(newline='', encoding='utf-8') as file:
        reader = csv.DictReader(file)
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f'{path}: the columns {", ".join(missing)} are missing; found {reader.fieldnames}.')
        for row in reader:
            try:
                frame, values = int(row['frame']), [float(row[name]) for name in _COLUMNS[2:]]
                if frame < 0 or not np.isfinite(values).all():
                    raise ValueError
            except (TypeError, ValueError) as error:
                raise DataError(f'{path}:{reader.line_num}: not a frame and four numbers: {row}.') from error
            boxes.setdefault(frame, []).append((row['label'].strip().lower(), *values))
    return boxes


def import_clips(
    clips: Sequence[Clip],
    out: Path,
    *,
    classes: Sequence[str] = ('drone',),
    train: tuple[float, float] = (0.0, 0.6),
    val: tuple[float, float] = (0.7, 1.0),
    step: int = 1,
    say: Callable[[str], object] = print,
) -> dict[str, int]:
    """Write ``images/<clip>/<frame>.jpg`` and ``annotations/{train,val}.json``.

    Args:
        clips: Videos and their CSVs.
        out: The data root to make.
        classes: Labels to keep, in lower case; boxes of others are no objects.
        train: Share of each video to train on: start and stop. Equal: nothing.
        val: Share to evaluate on. Neighboring frames are alike: leave a gap.
        step: Take every so many frames.
        say: Takes lines for the user.

    Returns:
        Images by split.

    Raises:
        UserError: If the shares overlap, the step is no step, or two videos have one name.
        DataError: If a video cannot be read, or a box belongs to a frame that it does not have.
    """
    for name, (start, stop) in dict(train=train, val=val).items():
        if not 0 <= start <= stop <= 1:
            raise UserError(f'{name} must be two shares, 0 <= start <= stop <= 1, got {(start, stop)}.')
    if train[0] < train[1] and val[0] < val[1] and max(train[0], val[0]) < min(train[1], val[1]):
        raise UserError(f'train {train} and val {val} overlap: what is trained on cannot be evaluated on.')
    if step < 1:
        raise UserError(f'--step must be at least 1, got {step}.')
    stems = [clip.video.stem for clip in clips]
    if len(set(stems)) < len(stems):
        raise UserError(f'two videos have the same name: {sorted(stems)}; rename one.')
    files = {split: CocoJson(classes) for split in ('train', 'val')}
    for clip in clips:
        _import_clip(clip, out, files, dict(train=train, val=val), step, say)
    for split, coco in files.items():
        coco.write(out / 'annotations' / f'{split}.json')
    return {split: len(coco.images) for split, coco in files.items()}


def _import_clip(
    clip: Clip,
    out: Path,
    files: dict[str, CocoJson],
    shares: dict[str, tuple[float, float]],
    step: int,
    say: Callable[[str], object],
) -> None:
    if not clip.video.is_file():
        raise DataNotFoundError(f'{clip.video} does not exist.')
    path = clip.boxes or clip.video.with_suffix('.csv')
    boxes = read_boxes(path)
    folder = out / 'images' / clip.video.stem
    folder.mkdir(parents=True, exist_ok=True)
    # What the container says of its length may be wrong, and seeking inexact: the packets are counted.
    index = FrameIndex.scan(clip.video)
    reader = VideoReader(clip.video, index)
    total, number = len(index.pts_N), 0
    for number in range(total):
        try:
            frame_HW3 = reader.read([number])[0]
        except DataError:
            break
        split = next((s for s, (a, b) in shares.items() if round(a * total) <= number < round(b * total)), None)
        if split is None or number % step:
            continue
        name = f'images/{clip.video.stem}/{number:06d}.jpg'
        if not cv2.imwrite(str(out / name), frame_HW3[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
            raise UserError(f'{out / name}: cannot be written; is the disk full?')
        classes = files[split].classes
        known = [
            (x1, y1, x2, y2, classes.index(label))
            for label, x1, y1, x2, y2 in boxes.get(number, [])
            if label in classes
        ]
        files[split].add(name, frame_HW3.shape[:2], known)
    else:
        number = total
    reader.close()
    if not number:
        raise DataError(f'{clip.video}: no frame of it can be decoded.')
    num_late = sum(frame >= number for frame in boxes)
    promised = max(total, index.num_promised)
    if number < promised:
        say(
            f'{clip.video}: {number} frames can be decoded of the {promised} that it should have: it is cut off. The '
            f'boxes of {num_late} later frames are left out.'
        )
    elif num_late:
        raise DataError(f'{path}: has boxes of frame {max(boxes)}, {clip.video} has only {number} frames.')
