"""Make a whole data set: find the views, label them in parallel, say what came out."""

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from mmopt.datasets.bev.prepare.keyframe import KEYFRAME_FILE, keyframe_views
from mmopt.datasets.bev.prepare.labels import make_label
from mmopt.datasets.bev.prepare.map_expansion import require_shapely
from mmopt.datasets.bev.prepare.preview import draw_preview
from mmopt.datasets.bev.prepare.splits import official_split, read_split_file
from mmopt.datasets.bev.prepare.tables import find_version, nuscenes_views, scene_names
from mmopt.datasets.bev.prepare.views import CLASSES, IGNORE, View
from mmopt.datasets.bev.prepare.write import Layout
from mmopt.datasets.common.decode import picture_size
from mmopt.utils.errors import DataError, DataNotFoundError, UserError
from mmopt.utils.parallel import run_jobs

__all__ = ['Options', 'prepare', 'summarize']

_RULE = 'PON grid 196x200, 0.25 m'
_WHOLE_SWEEP = 0.5  # of the usual size: a sensor gives nearly the same number of points in every turn


@dataclass(frozen=True)
class Options:
    """What a run of the tool can be told.

    Args:
        source: nuScenes folder, or a key frame's.
        version: Folder of nuScenes' tables; None if there is only one.
        split_file: Scenes for training and validation; None for the official ones.
        cameras: Cameras; None for CAM_FRONT of nuScenes, all of a key frame.
        occlusion: ``lidar``, ``boxes`` or ``none``; None for LiDAR in nuScenes, boxes in a key frame.
        link: See :class:`~mmopt.datasets.bev.prepare.write.Layout`.
        num_workers: Processes; 0 works in this one.
        force: Make finished samples anew.
        skip_missing: Leave out views whose image or sweep is not there.
    """

    source: Path
    out: Path
    version: str | None = None
    split_file: Path | None = None
    cameras: Sequence[str] | None = None
    occlusion: str | None = None
    link: str = 'auto'
    num_workers: int = 2
    num_previews: int = 4
    force: bool = False
    skip_missing: bool = False


@dataclass
class Summary:
    """What came out.

    Args:
        made: Samples made in this run.
        kept: Samples that were finished before.
        missing: Views left out because a file is not there.
        num_images: Samples by split.
        images_with_class: By split, for each class the number of images in which a cell that counts holds it.
        share_of_class: By split, for each class its share of the cells that count.
        share_seen: By split, the share of cells that count.
        previews: Pictures drawn.
        notes: What the user should know.
    """

    made: int = 0
    kept: int = 0
    missing: int = 0
    num_images: dict[str, int] = field(default_factory=dict)
    images_with_class: dict[str, np.ndarray] = field(default_factory=dict)
    share_of_class: dict[str, np.ndarray] = field(default_factory=dict)
    share_seen: dict[str, float] = field(default_factory=dict)
    previews: list[Path] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def prepare(options: Options, say: Callable[[str], object] = print) -> Summary:
    """Make the layout; finished samples stay as they are.

    Args:
        say: Takes the lines that tell what goes on.

    Returns:
        Counts.

    Raises:
        UserError: If something is the user's to mend; files written so far are whole and stay.
    """
    summary = Summary()
    views, settings = _find_views(options, summary, say)
    views = _require_files(views, settings['occlusion'], options.skip_missing, summary)
    views = _at_real_sizes(views, summary)
    layout = Layout(options.out, options.link)
    layout.make_folders()
    layout.agree_on(settings, options.force)
    layout.write_calibration({view.name: view.intrinsics_33 for view in views})
    todo = [
        view for view in views if options.force or not layout.is_finished(view.splits, view.name, view.image.suffix)
    ]
    summary.made, summary.kept = len(todo), len(views) - len(todo)
    if summary.kept:
        say(f'{summary.kept} of {len(views)} samples are finished; --force makes them anew.')
    _label_all(todo, layout, settings['occlusion'], options.num_workers)
    _count(layout, views, summary)
    summary.previews = _draw_previews(layout, views, options.num_previews)
    return summary


def _find_views(options: Options, summary: Summary, say: Callable[[str], object]) -> tuple[list[View], dict[str, str]]:
    if not options.source.is_dir():
        raise DataNotFoundError(f'{options.source}: no such folder; give a nuScenes folder or a key frame.')
    if (options.source / KEYFRAME_FILE).is_file():
        unused = dict(version=options.version, split_file=options.split_file)
        if given := [f'--{key.replace("_", "-")}' for key, value in unused.items() if value is not None]:
            raise UserError(f'{options.source} is a key frame: {" and ".join(given)} would have no effect.')
        occlusion = options.occlusion or 'boxes'
        if occlusion == 'lidar':
            raise UserError(f'{options.source}: a key frame has no LiDAR sweep. Pass --occlusion boxes or none.')
        views = keyframe_views(options.source, options.cameras, ('train', 'val'))
        summary.notes += [
            'val holds the same images as train: one key frame can only show that a model learns, not how well.',
            'A key frame tells nothing of crossings, walkways and car parks: leave their IoU out.',
        ]
        return views, dict(source='key frame', rule=_RULE, occlusion=occlusion, split='train = val')

    version = find_version(options.source, options.version)
    require_shapely()
    names = scene_names(options.source, version)
    split = read_split_file(options.split_file, names) if options.split_file else official_split(version, names)
    parts = Counter(split.values())
    occlusion = options.occlusion or 'lidar'
    say(f'{version}: {parts["train"]} scenes for training, {parts["val"]} for validation, {len(names) - len(split)} not'
        ' used; reading tables ...')  # fmt: skip
    cameras = options.cameras or ['CAM_FRONT']
    views = nuscenes_views(options.source, version, split, cameras, occlusion == 'lidar', summary.notes.append)
    if not views:
        raise DataError(f'{options.source / version}: no key frame of these scenes and cameras.')
    digest = hashlib.sha256(json.dumps(sorted(split.items())).encode()).hexdigest()[:12]
    kind = f'{options.split_file.name} ({digest})' if options.split_file else f'{version}, official ({digest})'
    return views, dict(source='nuScenes', rule=_RULE, occlusion=occlusion, split=kind)


def _require_files(views: list[View], occlusion: str, skip_missing: bool, summary: Summary) -> list[View]:
    """Leave out, or refuse, views without a picture or a whole sweep: a cut sweep would hide nearly every cell."""
    present: list[View] = []
    missing: list[Path] = []
    sweeps = [view.lidar for view in views if occlusion == 'lidar' and view.lidar is not None]
    sizes = {path: path.stat().st_size for path in sweeps if path.is_file()}
    least = _WHOLE_SWEEP * float(np.median(list(sizes.values()))) if sizes else 0.0
    cut = {path: size for path, size in sizes.items() if size < max(least, 1.0)}
    if cut and not skip_missing:
        path, size = next(iter(cut.items()))
        raise DataError(
            f'{path}: {size} bytes, where sweeps have {least / _WHOLE_SWEEP:.0f}: it is empty or cut off '
            f'({len(cut)} of {len(sizes)} are). Unpack the LiDAR blobs again, or pass --skip-missing to leave them out.'
        )
    for view in views:
        needed = [view.image, *([view.lidar] if occlusion == 'lidar' and view.lidar is not None else [])]
        absent = [path for path in needed if not path.is_file()]
        missing += absent[:1]
        if not absent and view.lidar not in cut:
            present.append(view)
    if missing and not (skip_missing and present):
        raise DataNotFoundError(
            f'{missing[0]}: no such file, though the tables name it ({len(missing)} of {len(views)} samples lack one). '
            'Unpack the remaining blobs, or pass --skip-missing to leave these samples out.'
        )
    if not present:
        raise DataError(f'{views[0].lidar}: all {len(cut)} LiDAR sweeps are empty or cut off. Unpack the blobs again.')
    summary.missing = len(missing)
    if cut:
        summary.notes.append(f'{len(cut)} samples are left out: their LiDAR sweep is empty or cut off.')
    return present


def _at_real_sizes(views: list[View], summary: Summary) -> list[View]:
    """Give each view the size of its file: pictures that were scaled on disk need scaled camera matrices."""
    fitted: list[View] = []
    scaled: Counter[str] = Counter()
    for view in views:
        height, width = picture_size(view.image)
        factors = np.array([width / view.size[0], height / view.size[1], 1.0])
        if abs(factors[0] / factors[1] - 1) > 0.01:
            raise DataError(
                f'{view.image}: the picture is {width}x{height}, the tables say {view.size[0]}x{view.size[1]}: it was '
                'not scaled but cut or turned, and its camera matrix is that of another picture.'
            )
        if (width, height) != tuple(view.size):
            scaled[f'{width}x{height} in the place of {view.size[0]}x{view.size[1]}'] += 1
            view = replace(view, size=(width, height), intrinsics_33=view.intrinsics_33 * factors[:, None])
        fitted.append(view)
    summary.notes += [
        f'{count} of {len(views)} pictures are {sizes}: their camera matrices are scaled.'
        for sizes, count in scaled.items()
    ]
    return fitted


def _label_one(view: View, layout: Layout, occlusion: str) -> None:
    layout.write_sample(view.splits, view.name, view.image, make_label(view, occlusion))


def _label_all(views: list[View], layout: Layout, occlusion: str, num_workers: int) -> None:
    for _ in run_jobs(_label_one, [(v, layout, occlusion) for v in views], num_workers, unit='image', desc='labels'):
        pass


def _count(layout: Layout, views: list[View], summary: Summary) -> None:
    for split in ('train', 'val'):
        names = [view.name for view in views if split in view.splits]
        unseen: list[str] = []
        images, cells, seen = np.zeros(IGNORE, np.int64), np.zeros(IGNORE, np.int64), 0
        for name in names:
            bits_ZX: Any = cv2.imread(str(layout.label(split, name)), cv2.IMREAD_UNCHANGED)
            if bits_ZX is None:
                raise DataError(f'{layout.label(split, name)}: not readable as an image. Remove it and start again.')
            bits_S = bits_ZX[bits_ZX >> IGNORE & 1 == 0]
            if not len(bits_S):
                unseen.append(name)
            cells_C = np.array([np.count_nonzero(bits_S & (1 << index)) for index in range(IGNORE)])
            images, cells, seen = images + (cells_C > 0), cells + cells_C, seen + len(bits_S)
        if unseen:
            summary.notes.append(
                f'{len(unseen)} of {len(names)} {split} samples have no cell that counts: {unseen[0]}, ...'
            )
        summary.num_images[split] = len(names)
        summary.images_with_class[split] = images
        summary.share_of_class[split] = cells / max(seen, 1)
        summary.share_seen[split] = seen / max(len(names) * 196 * 200, 1)


def _draw_previews(layout: Layout, views: list[View], num: int) -> list[Path]:
    """Draw evenly spaced views from what lies on disk."""
    chosen = np.unique(np.linspace(0, len(views) - 1, min(num, len(views))).round().astype(int))
    paths = []
    for view in (views[index] for index in chosen):
        split = view.splits[0]
        image = cv2.imread(str(layout.image(split, view.name, view.image.suffix)), cv2.IMREAD_COLOR)
        if image is None:
            raise DataError(f'{view.image}: not readable as an image. Unpack it again.')
        bits_ZX: Any = cv2.imread(str(layout.label(split, view.name)), cv2.IMREAD_UNCHANGED)
        picture = draw_preview(view, np.ascontiguousarray(image[..., ::-1]), bits_ZX)
        paths.append(layout.root / 'preview' / f'{view.name}.jpg')
        os.makedirs(paths[-1].parent, exist_ok=True)
        cv2.imwrite(str(paths[-1]), picture[..., ::-1])
    return paths


def summarize(summary: Summary) -> str:
    """Write the summary as text.

    Args:
        summary: What came out.

    Returns:
        Some lines: counts, a table of the classes, pictures, notes, and the next command.
    """
    splits = [split for split, num in summary.num_images.items() if num]
    lines = [f'{summary.made} samples made, {summary.kept} kept, {summary.missing} left out for want of a file.']
    head = ''.join(f'{f"{split}: images with it":>24}{"share of cells":>16}' for split in splits)
    lines += ['', f'{"class":<22}{head}']
    for index, name in enumerate(CLASSES):
        row = ''.join(
            f'{summary.images_with_class[split][index]:>24}{summary.share_of_class[split][index]:>16.5f}'
            for split in splits
        )
        lines.append(f'{name:<22}{row}')
    lines.append(f'{"all":<22}' + ''.join(f'{summary.num_images[split]:>24}{"":>16}' for split in splits))
    lines.append(
        f'{"cells that count":<22}' + ''.join(f'{"":>24}{summary.share_seen[split]:>16.5f}' for split in splits)
    )
    lines += ['', *(f'note: {note}' for note in summary.notes)]
    if summary.previews:
        lines.append(f'look at {summary.previews[0]}' + (' and the others there' if len(summary.previews) > 1 else ''))
    return '\n'.join(lines)
