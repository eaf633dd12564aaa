"""Where the driver data set keeps what, and how its files are read.

``videos_split/<person>/<environment>/{front,left,right}.mp4``; ``label/<person>_<environment>.json`` (Label Studio);
``keypoints/<person>/<environment>/<frame>.npz`` (six digits, from 0); ``mini.json``: start, mid and end frame that were
annotated; ``splits/fold_<k>_{train,val}.txt``: a recording per line; ``index/...``: see
:class:`~mmopt.datasets.common.film.frame_index.FrameIndex`. A person is ``person_01`` (a folder ``01`` is taken as
that), an environment ``day_high``, ``day_low``, ``night_high`` or ``night_low``.
"""

import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mmopt.utils.errors import DataError, DataNotFoundError
from mmopt.utils.shipped import tool_command

__all__ = [
    'DRIVER_ACTIONS',
    'DRIVER_VIEWS',
    'Recording',
    'find_recordings',
    'read_keypoints',
    'read_ranges',
    'read_segments',
]

DRIVER_ACTIONS = ('left', 'right', 'down', 'up', 'right_up', 'right_down', 'left_down', 'left_up', 'front')
DRIVER_VIEWS = ('front', 'left', 'right')


@dataclass(frozen=True)
class Recording:
    """One drive of one person.

    Attributes:
        person: Name of its folder.
        environment: Name of its folder.
    """

    root: Path
    person: str
    environment: str

    @property
    def name(self) -> str:
        """Its line in a split file."""
        return f'{self.person}/{self.environment}'

    @property
    def label_path(self) -> Path:
        """Its labels."""
        person = self.person if self.person.startswith('person_') else f'person_{self.person}'
        return self.root / 'label' / f'{person}_{self.environment}.json'

    def video_path(self, view: str) -> Path:
        """Return the video of a view."""
        return self.root / 'videos_split' / self.person / self.environment / f'{view}.mp4'

    def index_path(self, view: str) -> Path:
        """Return where the frame index of a view is stored."""
        return self.root / 'index' / self.person / self.environment / f'{view}.npz'

    def keypoint_path(self, frame: int) -> Path:
        """Return the keypoints of a frame."""
        return self.root / 'keypoints' / self.person / self.environment / f'{frame:06d}.npz'


def find_recordings(root: str | Path) -> list[Recording]:
    """List the recordings of a data root, sorted.

    Returns:
        At least one recording.

    Raises:
        DataNotFoundError: If there is none.
    """
    folder = Path(root) / 'videos_split'
    found = [
        Recording(Path(root), person.name, environment.name)
        for person in sorted(folder.glob('*'))
        if person.is_dir()
        for environment in sorted(person.iterdir())
        if environment.is_dir()
    ]
    if not found:
        raise DataNotFoundError(
            f'{folder}: no recording (videos_split/<person>/<environment>/front.mp4). For a set to try with: '
            f'`{tool_command("make_demo", "driver")}`.'
        )
    return found


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding='utf-8'))
    except FileNotFoundError as error:
        raise DataNotFoundError(f'{path}: no such file.') from error
    except (ValueError, OSError) as error:
        raise DataError(f'{path}: not readable as JSON: {error}.') from error


def read_segments(path: Path, classes: Sequence[str], first_frame: int = 0) -> np.ndarray:
    """Read the labeled ranges of a recording from an export of Label Studio.

    Three forms are read: ``annotations[].videoLabels[].{timelinelabels, ranges[{start, end}]}``, ``videoLabels`` of a
    task itself (JSON_MIN), and ``annotations[].result[].value`` (JSON). Labels of another kind (boxes, key points) are
    left out. Several tasks of one video are read together.

    Args:
        path: The file: a task or a list of them.
        classes: Names in the model's order.
        first_frame: Number that the file gives to a video's first frame.

    Returns:
        int64 (N, 3): start, stop, class, sorted; frames from 0, ranges half-open.

    Raises:
        DataNotFoundError: If the file is missing.
        DataError: If it has another form, is of several videos, or has an unknown class or an empty range.
    """
    content = _read_json(path)
    tasks = content if isinstance(content, list) else [content]
    try:
        labels = [label for task in tasks for label in _timeline_labels(task)]
    except (AttributeError, KeyError, TypeError) as error:
        raise DataError(
            f'{path}: has no annotations[].videoLabels[] and no annotations[].result[] with a value; export the labels '
            f'as JSON or JSON_MIN of Label Studio ({type(error).__name__}: {error}).'
        ) from error
    videos = {str(name) for task in tasks if (name := _video_of(task))}
    if len(videos) > 1:
        raise DataError(
            f'{path}: its {len(tasks)} tasks are of {len(videos)} videos ({", ".join(sorted(videos)[:3])}): export one '
            'file for each recording.'
        )
    number = {name: index for index, name in enumerate(classes)}
    rows = []
    for label in labels:
        try:
            (name,) = label['timelinelabels']
            spans = [(int(span['start']) - first_frame, int(span['end']) - first_frame) for span in label['ranges']]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f'{path}: each label of a time line needs one timelinelabels and ranges of start and end, one is '
                f'{str(label)[:120]}.'
            ) from error
        if name not in number:
            raise DataError(f'{path}: unknown class {name!r}; known: {", ".join(classes)}.')
        for start, stop in spans:
            if not 0 <= start < stop:
                raise DataError(
                    f'{path}: {name} has the range {start + first_frame} to {stop + first_frame}: start must be below '
                    f'end, from {first_frame} on (label_first_frame).'
                )
            rows.append((start, stop, number[name]))
    return np.array(sorted(rows), dtype=np.int64).reshape(-1, 3)


def _timeline_labels(task: Mapping) -> list[Mapping]:
    """Return what a task has on its time line, in any of Label Studio's forms."""
    found = list(task.get('videoLabels') or ())
    if 'annotations' not in task and not found:
        raise KeyError('annotations')
    for annotation in task.get('annotations') or ():
        if 'result' in annotation:
            found += [result['value'] for result in annotation['result'] if 'value' in result]
        else:
            found += annotation['videoLabels']
    kinds = {key for label in found for key in label if key.endswith('labels')}
    # Boxes and key points have labels of their own kind; what has none at all is broken.
    return [label for label in found if 'timelinelabels' in label or not kinds - {'timelinelabels'} & set(label)]


def _video_of(task: Mapping) -> str | None:
    data = task.get('data')
    return task.get('video') or (data.get('video') if isinstance(data, Mapping) else None)


def read_ranges(root: str | Path) -> dict[str, tuple[int, int]]:
    """Read ``mini.json``: which frames of each recording were annotated.

    Returns:
        (start, stop) by recording, where the file knows it; empty without the file.

    Raises:
        DataError: If the file has another form.
    """
    path = Path(root) / 'mini.json'
    if not path.is_file():
        return {}
    ranges = {}
    try:
        for person, environments in _read_json(path).items():
            for environment, span in environments.items():
                start, stop = int(span['start']), int(span['end'])
                if not 0 <= start < stop:
                    raise ValueError(f'{person}/{environment} has start {start} and end {stop}')
                ranges[f'{person}/{environment}'] = (start, stop)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f'{path}: must be {{person: {{environment: {{"start": a, "mid": b, "end": c}}}}}} with a below c '
            f'({type(error).__name__}: {error}).'
        ) from error
    return ranges


def read_keypoints(path: Path, num_points: int) -> np.ndarray:
    """Read the keypoints of one frame; what is not finite counts as missing and becomes 0.

    Args:
        path: npz with one array (num_points, 3).
        num_points: Keypoints.

    Returns:
        float32 (num_points, 3).

    Raises:
        DataNotFoundError: If the file is missing.
        DataError: If it is broken or of another shape.
    """
    try:
        # Bytes first: NumPy leaves a broken archive open.
        with np.load(io.BytesIO(path.read_bytes())) as arrays:
            (name,) = arrays.files
            points_K3 = arrays[name]
    except FileNotFoundError as error:
        raise DataNotFoundError(f'{path}: no such file; without keypoints set load_kpt=False.') from error
    except Exception as error:  # NumPy and zipfile raise a dozen kinds for broken archives
        raise DataError(f'{path}: not a readable npz with one array: {error}.') from error
    if points_K3.shape != (num_points, 3):
        raise DataError(f'{path}: shape {points_K3.shape}, must be ({num_points}, 3).')
    try:
        points_K3 = points_K3.astype(np.float32)
    except (TypeError, ValueError) as error:  # texts that are no numbers, objects
        raise DataError(f'{path}: holds {points_K3.dtype}, must hold numbers: {error}.') from error
    return np.nan_to_num(points_K3, nan=0.0, posinf=0.0, neginf=0.0)
