"""Boxes as YOLO and Pascal VOC keep them, to COCO's json. Pictures stay where they are."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mmopt.datasets.detection.prepare.coco_json import CocoJson
from mmopt.datasets.detection.prepare.labeled import LabeledPicture
from mmopt.datasets.detection.prepare.voc import read_voc, voc_pictures
from mmopt.datasets.detection.prepare.yolo import find_yaml, read_yolo, yolo_pictures
from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.parallel import run_jobs

__all__ = ['BoxReport', 'prepare_boxes']


@dataclass
class BoxReport:
    """What was written.

    Attributes:
        files: Split -> json, images and boxes.
        classes: Names, in order.
        notes: What was left out or odd, with its count.
    """

    files: dict[str, tuple[Path, int, int]] = field(default_factory=dict)
    classes: tuple[str, ...] = ()
    notes: Counter = field(default_factory=Counter)

    def __str__(self) -> str:
        lines = [
            f'{split}: {images} images, {boxes} boxes -> {path}' for split, (path, images, boxes) in self.files.items()
        ]
        lines.append(f'{len(self.classes)} classes: {", ".join(self.classes)}')
        return '\n'.join(lines + [f'{count} {what}.' for what, count in self.notes.items()])


def prepare_boxes(
    source: str | Path,
    *,
    out: str | Path | None = None,
    classes: Sequence[str] | None = None,
    num_workers: int = 0,
) -> BoxReport:
    """Write ``annotations/<split>.json`` of a folder in YOLO's or Pascal VOC's layout.

    Args:
        source: The folder, or a ``data.yaml``.
        out: Folder of the jsons; default: ``annotations`` in the source folder. File names count from the source.
        classes: Names, in order. YOLO's come from ``data.yaml`` unless given; of Pascal VOC others are left out, and
            the default is all, by the alphabet.
        num_workers: Processes; 0 works in this one.

    Returns:
        What was written.

    Raises:
        DataNotFoundError: If the folder, a split's folder or list, or a picture is missing.
        DataError: If the layout is none of these, or a file cannot be read; the message names file and line.
    """
    source = Path(source)
    if not source.exists():
        raise DataNotFoundError(f'{source} does not exist.')
    root = source.parent if source.is_file() else source
    description = source if source.is_file() else find_yaml(root)
    names: tuple[str, ...] | None
    read: Callable[..., LabeledPicture]
    if description is None and (root / 'Annotations').is_dir():
        pictures, names, read = list(voc_pictures(root)), None if classes is None else tuple(classes), read_voc
    else:
        (pictures, names), read = yolo_pictures(root, description, classes), read_yolo
    if not pictures:
        raise DataError(f'{source}: no picture found.')
    jobs = [(picture, names) for picture in pictures]
    # By split as well: small sets of YOLO train and evaluate on the same folder.
    done = run_jobs(read, jobs, num_workers, unit='image', desc='reading')
    found = {(item.picture.split, item.picture.image): item for item in done}
    items = [found[picture.split, picture.image] for picture in pictures]
    return _write(root, Path(out) if out else root / 'annotations', items, names)


def _write(root: Path, out: Path, found: Sequence[LabeledPicture], names: tuple[str, ...] | None) -> BoxReport:
    report = BoxReport(classes=names or tuple(sorted({box[4] for item in found for box in item.boxes})))
    number = {name: index for index, name in enumerate(report.classes)}
    for split in dict.fromkeys(item.picture.split for item in found):
        coco, num_boxes = CocoJson(report.classes), 0
        for item in found:
            if item.picture.split != split:
                continue
            report.notes.update(item.notes)
            name = _relative(item.picture.image, root)
            coco.add(name, item.size, [(*box[:4], number[box[4]], box[5]) for box in item.boxes])
            num_boxes += len(item.boxes)
        path = out / f'{split}.json'
        coco.write(path, source=root.name)
        report.files[split] = (path, len(coco.images), num_boxes)
    seen = Counter(item.picture.image for item in found)
    if shared := sum(count > 1 for count in seen.values()):
        report.notes['pictures are in several splits: what is trained on is evaluated on, so metrics say little'] = (
            shared
        )
    if not any(boxes for *_, boxes in report.files.values()):
        raise DataError(f'{root}: no box in {len(found)} pictures: nothing to learn. Is there a folder "labels"?')
    return report


def _relative(image: Path, root: Path) -> str:
    try:
        return image.resolve().relative_to(root.resolve()).as_posix()
    except ValueError:
        return image.resolve().as_posix()
