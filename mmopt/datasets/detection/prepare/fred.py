"""FRED's sequences to COCO jsons, one per modality and split, and one of pairs.

Images stay where they are: the jsons name them from the data root. Each sequence's result is kept under
``annotations/sequences``, so a stopped run goes on, and one whose files have changed is made anew.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from mmopt.datasets.detection.fred import FOLDERS, PAIR_S, frame_times, match_labels, nearest, read_labels
from mmopt.datasets.detection.prepare.coco_json import CocoJson
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from mmopt.utils.parallel import run_jobs
from mmopt.utils.whole_file import write_whole

__all__ = ['FredOptions', 'prepare_fred', 'split_sequences', 'summarize_fred']

SPLITS = ('train', 'val', 'test')


@dataclass(frozen=True)
class FredOptions:
    """What the tool can be told.

    Attributes:
        root: Folder with the sequences.
        labels: Name of the label file of each sequence.
        split_file: ``{"train": [sequences], "val": [...], "test": [...]}``; None draws a split.
        split_by: ``'sequence'``, or ``'frame'``: neighboring frames then lie in different splits, which makes every
            metric too good.
        shares: Shares of training, validation and test.
        seed: Of the split.
        keep_unlabelled: Keep frames without a label as images without drones.
        num_workers: Processes; 0 works in this one.
        force: Make finished sequences anew.
    """

    root: Path
    labels: str = 'coordinates.txt'
    split_file: Path | None = None
    split_by: str = 'sequence'
    shares: tuple[float, float, float] = (0.7, 0.15, 0.15)
    seed: int = 42
    keep_unlabelled: bool = False
    num_workers: int = 0
    force: bool = False


def split_sequences(names: list[str], shares: tuple[float, float, float], seed: int) -> dict[str, str]:
    """Draw a split for each name; every split with a share gets at least one where there are enough.

    Args:
        names: Names, in a fixed order.
        shares: Shares of training, validation and test; they sum to 1.
        seed: The same seed and names give the same split.

    Returns:
        Split by name.

    Raises:
        UserError: If the shares do not sum to 1.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise UserError(f'--shares must be three numbers of at least 0 that sum to 1, got {shares}.')
    shuffled = [names[index] for index in np.random.default_rng(seed).permutation(len(names))]
    wanted = [split for split, share in zip(SPLITS[1:], shares[1:], strict=True) if share > 0]
    counts = {split: round(share * len(names)) for split, share in zip(SPLITS, shares, strict=True)}
    for split in wanted:
        counts[split] = max(counts[split], 1 if len(names) > len(wanted) else 0)
    counts['train'] = len(names) - counts['val'] - counts['test']
    order = [split for split in SPLITS for _ in range(counts[split])]
    return dict(zip(shuffled, order, strict=True))


def _read_splits(path: Path, names: list[str]) -> dict[str, str]:
    try:
        given = json.loads(path.read_text(encoding='utf-8'))
        split_of = {str(name): split for split in SPLITS for name in given.get(split, [])}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise DataError(f'{path}: must be a JSON of {{"train": [sequences], "val": [...], "test": [...]}}.') from error
    unknown = sorted(set(split_of) - set(names))
    if unknown:
        raise DataError(f'{path}: {len(unknown)} sequences are not there: {", ".join(unknown[:5])}.')
    return split_of


def _frames(folder: Path, modality: str) -> list[tuple[float, str]]:
    if not folder.is_dir():
        return []
    return frame_times(sorted(item.name for item in folder.iterdir()), modality)


def _image_size(path: Path) -> tuple[int, int]:
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None:
        raise DataError(f'{path}: not an image that OpenCV can decode.')
    return image.shape[:2]


def convert_sequence(root: Path, name: str, labels: str) -> dict:
    """Match frames and labels of one sequence.

    Args:
        root: Folder with the sequences.
        labels: Name of its label file.

    Returns:
        ``frames``: by modality a list of [file name from root, time_s, height, width, boxes]; ``counts``: by modality.
    """
    known = read_labels(root / name / labels)
    frames, counts = {}, {}
    for modality, folder in FOLDERS.items():
        timed = _frames(root / name / folder, modality)
        if not timed:
            continue
        # One camera, one size: only the first image is read.
        size = _image_size(root / name / folder / timed[0][1])
        boxes, counts[modality] = match_labels([time_s for time_s, _ in timed], known, size)
        frames[modality] = [
            [f'{name}/{folder}/{file}', time_s, *size, found.tolist()]
            for (time_s, file), found in zip(timed, boxes, strict=True)
        ]
    return dict(frames=frames, counts=counts)


def _fingerprint(root: Path, name: str, labels: str) -> str:
    """Return what changes when the sequence's files do."""
    stat = (root / name / labels).stat()
    parts = [1, labels, stat.st_size, stat.st_mtime_ns]
    for folder in FOLDERS.values():
        path = root / name / folder
        parts.append(sorted(item.name for item in path.iterdir()) if path.is_dir() else [])
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _one_sequence(root: Path, name: str, labels: str, cache: Path, fingerprint: str) -> str:
    result = convert_sequence(root, name, labels)
    write_whole(cache, json.dumps(result | dict(fingerprint=fingerprint)))
    return name


def _read_cache(cache: Path) -> dict:
    try:
        return json.loads(cache.read_text(encoding='utf-8'))
    except (OSError, ValueError):
        return {}


def prepare_fred(options: FredOptions, say: Callable[[str], object] = print) -> dict[str, dict[str, Counter]]:
    """Write ``annotations/{rgb,event,fusion}_{train,val,test}.json``.

    Args:
        say: Takes the lines that tell what goes on.

    Returns:
        Counts, by kind (rgb, event, fusion) and split.

    Raises:
        UserError: If something is the user's to mend; sequences finished so far stay.
    """
    root = options.root
    if not root.is_dir():
        raise DataNotFoundError(f'{root}: no such folder; give the folder that holds the sequences.')
    if options.split_by not in ('sequence', 'frame'):
        raise UserError(f"--split-by must be 'sequence' or 'frame', got {options.split_by!r}.")
    names = sorted(item.name for item in root.iterdir() if (item / options.labels).is_file())
    without = sorted(
        item.name for item in root.iterdir() if (item / 'Event').is_dir() and not (item / options.labels).is_file()
    )
    if not names:
        raise DataNotFoundError(f'{root}: no folder holds {options.labels}; give the folder of the sequences.')
    if without:
        say(f'{len(without)} sequences have no {options.labels} and are left out: {", ".join(without[:5])}.')
    folder = root / 'annotations'
    cache_dir = folder / 'sequences'
    cache_dir.mkdir(parents=True, exist_ok=True)
    marks = {name: _fingerprint(root, name, options.labels) for name in names}
    paths = {name: cache_dir / f'{name}.json' for name in names}
    todo = [name for name in names if options.force or _read_cache(paths[name]).get('fingerprint') != marks[name]]
    if len(todo) < len(names):
        say(f'{len(names) - len(todo)} of {len(names)} sequences are finished; --force makes them anew.')
    jobs = [(root, name, options.labels, paths[name], marks[name]) for name in todo]
    for _ in run_jobs(_one_sequence, jobs, options.num_workers, unit='sequence', desc='labels'):
        pass
    results = {name: _read_cache(paths[name]) for name in names}
    if not any(result['frames'] for result in results.values()):
        raise DataNotFoundError(
            f'{root}: its {len(names)} sequences with a {options.labels} hold no frame of the names that FRED gives in '
            f'{" or ".join(FOLDERS.values())}; unpack the images, too.'
        )
    return _write(options, results, folder)


def _write(options: FredOptions, results: dict[str, dict], folder: Path) -> dict[str, dict[str, Counter]]:
    if options.split_file is not None:
        by_sequence = _read_splits(options.split_file, list(results))
        results = {name: result for name, result in results.items() if name in by_sequence}
    else:
        by_sequence = split_sequences(sorted(results), options.shares, options.seed)
    summary: dict[str, dict[str, Counter]] = {}
    for kind in (*FOLDERS, 'fusion'):
        rows = [(name, row) for name, result in results.items() for row in _rows(result, kind)]
        if not rows:
            continue
        splits = [by_sequence[name] for name, _ in rows]
        if options.split_by == 'frame':
            by_frame = split_sequences([row[0] for _, row in rows], options.shares, options.seed)
            splits = [by_frame[row[0]] for _, row in rows]
        counts: dict[str, Counter] = {split: Counter() for split in SPLITS}
        files = {split: CocoJson(['drone']) for split in SPLITS}
        for (name, row), split in zip(rows, splits, strict=True):
            counts[split]['frames'] += 1
            if not row[4] and not options.keep_unlabelled:
                counts[split]['unlabeled, left out'] += 1
                continue
            _add(files[split], name, row)
        source = 'rgb' if kind == 'fusion' else kind
        for name, result in results.items():
            # Counted per sequence: a split by frame has no sequences of its own.
            where = by_sequence[name] if options.split_by == 'sequence' else 'train'
            for key in ('clipped', 'outside', 'no_area', 'unused_labels'):
                counts[where][key] += result['counts'].get(source, {}).get(key, 0)
            if kind == 'fusion':
                counts[where]['unpaired'] += len(result['frames'].get('rgb', ())) - len(_rows(result, kind))
        for split in SPLITS:
            counts[split] |= Counter(
                images=len(files[split].images),
                boxes=len(files[split].annotations),
                sequences=len({image['sequence'] for image in files[split].images}),
            )
            files[split].write(
                folder / f'{kind}_{split}.json',
                description=f'FRED, {kind}, {split}',
                options={key: str(value) for key, value in asdict(options).items()},
            )
        summary[kind] = counts
    return summary


def _rows(result: dict, kind: str) -> list[list]:
    """Return frames of a kind; a pair is an RGB frame with the name of the event frame at its time added."""
    frames = result['frames']
    if kind != 'fusion':
        return frames.get(kind, [])
    if len(frames) < len(FOLDERS):
        return []
    times = [row[1] for row in frames['event']]
    pairs = []
    for row in frames['rgb']:
        other = frames['event'][nearest(times, row[1])]
        if abs(other[1] - row[1]) <= PAIR_S:
            pairs.append([*row, other[0]])
    return pairs


def _add(coco: CocoJson, sequence: str, row: list) -> None:
    file_name, time_s, height, width, boxes, *pair = row
    more = dict(sequence=sequence, time_s=time_s) | (dict(pair_file_name=pair[0]) if pair else {})
    coco.add(file_name, (height, width), [(x1, y1, x2 - x1, y2 - y1, 0) for x1, y1, x2, y2 in boxes], **more)


def summarize_fred(summary: dict[str, dict[str, Counter]], folder: Path) -> str:
    """Return the counts as lines of text."""
    lines = []
    for kind, splits in summary.items():
        for split, counts in splits.items():
            dropped = ', '.join(
                f'{counts[key]} {text}'
                for key, text in (
                    ('unlabeled, left out', 'frames without a label within 0.05 s left out'),
                    ('unpaired', 'frames without an event frame within half a frame left out'),
                    ('clipped', 'boxes clipped to the image'),
                    ('outside', 'boxes outside of the image dropped'),
                    ('no_area', 'boxes without area dropped'),
                    ('unused_labels', 'labels without a frame'),
                )
                if counts[key]
            )
            lines.append(
                f'{kind:6} {split:5} {counts["images"]} images of {counts["sequences"]} sequences, '
                f'{counts["boxes"]} boxes' + (f'; {dropped}' if dropped else '')
            )
    return '\n'.join([*lines, f'in {folder / "annotations"}'])
