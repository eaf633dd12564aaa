"""Annotated videos to COCO's layout: a video and a CSV with one row per box.

The CSV has the columns ``frame,label,x,y,width,height``: frame from 0, pixels from the upper left corner; a frame
without a row has no box. Frames are written as images once, because seeking in a compressed video costs more than
training does.
"""

import csv
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.common.film.frame_index import FrameIndex
from mmopt.datasets.common.film.reader import VideoReader
from mmopt.datasets.detection.prepare.coco_json import CocoJson
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from mmopt.utils.parallel import run_jobs
from mmopt.utils.whole_file import whole_file, write_whole

__all__ = ['Clip', 'import_clips', 'read_boxes']

_FORMAT = 1  # raise it when what is written changes: clips are made anew
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
    """Read the CSV: with commas, semicolons or tabs, its columns in any case and order.

    Returns:
        By frame: label in lower case, x, y, width, height.

    Raises:
        DataNotFoundError: If the file is missing.
        DataError: If a column is missing or a row is not numbers.
    """
    if not path.is_file():
        raise DataNotFoundError(f'{path} does not exist: a video needs a CSV of its name with {",".join(_COLUMNS)}.')
    boxes: dict[int, list] = {}
    with path.open(newline='', encoding='utf-8-sig', errors='replace') as file:
        first = file.readline()
        delimiter = max(',;\t', key=first.count)
        file.seek(0)
        reader = csv.DictReader(file, delimiter=delimiter)
        reader.fieldnames = [name.strip().lower() for name in reader.fieldnames or ()]
        missing = [name for name in _COLUMNS if name not in (reader.fieldnames or ())]
        if missing:
            raise DataError(f'{path}: the columns {", ".join(missing)} are missing; found {reader.fieldnames}.')
        for row in reader:
            try:
                # A comma that divides no columns is a decimal one.
                texts = [
                    row[name] if delimiter == ',' else row[name].replace(',', '.')
                    for name in _COLUMNS
                    if name != 'label'
                ]
                number, *values = map(float, texts)
                frame = int(number)
                if frame != number or frame < 0 or not np.isfinite(values).all():
                    raise ValueError
            except (AttributeError, OverflowError, TypeError, ValueError) as error:
                raise DataError(f'{path}:{reader.line_num}: not a frame and four numbers: {row}.') from error
            boxes.setdefault(frame, []).append(((row['label'] or '').strip().lower(), *values))
    return boxes


def import_clips(
    clips: Sequence[Clip],
    out: Path,
    *,
    classes: Sequence[str] = ('drone',),
    train: tuple[float, float] = (0.0, 0.6),
    val: tuple[float, float] = (0.7, 1.0),
    step: int = 1,
    num_workers: int = 0,
    say: Callable[[str], object] = print,
) -> dict[str, int]:
    """Write ``images/<clip>/<frame>.jpg`` and ``annotations/{train,val}.json``.

    What was made of a clip is kept in ``annotations/clips``: a stopped run goes on after the last whole clip, and one
    whose files or options changed is made anew.

    Args:
        clips: Videos and their CSVs.
        out: The data root to make.
        classes: Labels to keep, in lower case; boxes of others are no objects.
        train: Share of each video to train on: start and stop. Equal: nothing.
        val: Share to evaluate on. Neighboring frames are alike: leave a gap.
        step: Take every so many frames.
        num_workers: Processes, each of which decodes a clip; 0 works in this one.
        say: Takes lines for the user: what was left out, and why.

    Returns:
        Images by split.

    Raises:
        UserError: If the shares overlap, the step is no step, or two videos have one name.
        DataError: If a video cannot be read, or a box belongs to a frame that it does not have.
    """
    shares = dict(train=train, val=val)
    _check_options(clips, shares, step)
    jobs = [(clip, out, tuple(classes), shares, step) for clip in clips]
    made = dict(run_jobs(_import_clip, jobs, num_workers, unit='clip', desc='frames'))
    files = {split: CocoJson(classes) for split in shares}
    for clip in clips:  # in the order in which they were given, whichever was ready first
        result = made[clip.video.stem]
        for split, name, size, boxes in result['frames']:
            files[split].add(name, tuple(size), [tuple(box) for box in boxes])
        for note in result['notes']:
            say(f'{clip.video}: {note}')
    for split, coco in files.items():
        coco.write(out / 'annotations' / f'{split}.json')
    return {split: len(coco.images) for split, coco in files.items()}


def _check_options(clips: Sequence[Clip], shares: dict[str, tuple[float, float]], step: int) -> None:
    for name, (start, stop) in shares.items():
        if not 0 <= start <= stop <= 1:
            raise UserError(f'{name} must be two shares, 0 <= start <= stop <= 1, got {(start, stop)}.')
    train, val = shares['train'], shares['val']
    if train[0] < train[1] and val[0] < val[1] and max(train[0], val[0]) < min(train[1], val[1]):
        raise UserError(f'train {train} and val {val} overlap: what is trained on cannot be evaluated on.')
    if step < 1:
        raise UserError(f'--step must be at least 1, got {step}.')
    stems = [clip.video.stem for clip in clips]
    if len(set(stems)) < len(stems):
        raise UserError(f'two videos have the same name: {sorted(stems)}; rename one.')


def _import_clip(
    clip: Clip, out: Path, classes: tuple[str, ...], shares: dict[str, tuple[float, float]], step: int
) -> tuple[str, dict]:
    """Write the frames of a clip; returns its name, and its frames with boxes and notes for the user."""
    if not clip.video.is_file():
        raise DataNotFoundError(f'{clip.video} does not exist.')
    path = clip.boxes or clip.video.with_suffix('.csv')
    boxes = read_boxes(path)
    stats = [(file.stat().st_size, file.stat().st_mtime_ns) for file in (clip.video, path)]
    mark = json.loads(json.dumps([_FORMAT, stats, classes, shares, step]))
    stored = out / 'annotations' / 'clips' / f'{clip.video.stem}.json'
    known = _read_stored(stored)
    if known.get('made_of') == mark and all((out / name).is_file() for _, name, *_ in known['frames']):
        return clip.video.stem, known
    num_flat = sum(min(row[3:]) <= 0 for rows in boxes.values() for row in rows)
    boxes = {frame: [row for row in rows if min(row[3:]) > 0] for frame, rows in boxes.items()}
    frames, num_frames, notes = _write_frames(clip.video, out, boxes, classes, shares, step)
    late = [frame for frame in boxes if frame >= num_frames]
    if late and not notes:
        raise DataError(f'{path}: has boxes of frame {max(boxes)}, {clip.video} has only {num_frames} frames.')
    if late:
        notes.append(f'{len(late)} later frames have boxes: these are left out.')
    if num_flat:
        notes.append(f'{num_flat} boxes have no width or no height: they are left out.')
    others = Counter(row[0] for rows in boxes.values() for row in rows if row[0] not in classes)
    notes += [f'{count} boxes of {label!r} are left out: it is none of the classes.' for label, count in others.items()]
    result = dict(made_of=mark, frames=frames, notes=notes)
    write_whole(stored, json.dumps(result))
    return clip.video.stem, result


def _read_stored(path: Path) -> dict:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}


def _write_frames(
    video: Path,
    out: Path,
    boxes: dict[int, list],
    classes: tuple[str, ...],
    shares: dict[str, tuple[float, float]],
    step: int,
) -> tuple[list, int, list[str]]:
    """Decode a video; returns split, name, size and boxes of what was written, the number of frames, and notes."""
    # What the container says of its length may be wrong, and seeking inexact: the packets are counted.
    index = FrameIndex.scan(video)
    reader = VideoReader(video, index)
    total, number, frames = len(index.pts_N), 0, []
    for number in range(total):
        try:
            frame_HW3 = reader.read([number])[0]
        except DataError:
            break
        split = next((s for s, (a, b) in shares.items() if round(a * total) <= number < round(b * total)), None)
        if split is None or number % step:
            continue
        name = f'images/{video.stem}/{number:06d}.jpg'
        with whole_file(out / name) as unfinished:
            if not cv2.imwrite(str(unfinished), frame_HW3[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95]):
                raise UserError(f'{out / name}: cannot be written; is the disk full?')
        known = [(*row[1:], classes.index(row[0])) for row in boxes.get(number, []) if row[0] in classes]
        frames.append((split, name, frame_HW3.shape[:2], known))
    else:
        number = total
    reader.close()
    if not number:
        raise DataError(f'{video}: no frame of it can be decoded.')
    promised = max(total, index.num_promised)
    cut = f'{number} frames can be decoded of the {promised} that it should have: it is cut off.'
    return frames, number, [cut] if number < promised else []
