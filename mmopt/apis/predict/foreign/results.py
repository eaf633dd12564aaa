"""What models of MMEngine's libraries predict, as results.

Which result a data sample is follows from its fields: ``pred_instances`` with boxes, scores and labels,
``pred_sem_seg``, ``pred_label`` with ``pred_score``, or others. All of them keep the sample's own structure in the
json.

Shape letters: N instances, H W picture.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mmengine.structures import BaseDataElement, InstanceData

from mmopt.apis.predict.foreign.plain_values import large_arrays, plain_sample, to_array
from mmopt.datasets.common.pictures import write_text
from mmopt.datasets.common.predict import Result
from mmopt.datasets.detection.result import DetectionResult
from mmopt.datasets.segmentation.result import SegmentationResult
from mmopt.structures.pixel_labels import label_type

__all__ = ['ForeignResult', 'result_type_of']

Draw = Callable[[np.ndarray], np.ndarray]


class ForeignResult(Result):
    """The data sample of one picture.

    Args:
        sample: What the model gave, on the host.
        classes: Names, by class number; empty if nobody knows them.
        palette: Colors of the classes.
        load: Reads the picture.
        draw: Draws the sample on the picture; None if the library has nothing that does.
    """

    task = 'samples'

    def __init__(
        self,
        sample: Any,
        classes: Sequence[str],
        palette: Any,
        load: Callable[[], np.ndarray],
        draw: Draw | None,
    ) -> None:
        size = field(sample, 'ori_shape')
        super().__init__(classes, load().shape[:2] if size is None else size, load)
        self.sample = sample
        """The library's own data sample."""
        self.palette = palette
        self._paint = draw

    def name_of(self, label: int) -> str:
        """Return the name of a class, or its number if nobody knows the name."""
        return self.classes[label] if 0 <= label < len(self.classes) else str(label)

    def above(self, confidence: float) -> 'ForeignResult':
        """Return the result without the instances that are less certain, where they have scores."""
        instances = field(self.sample, 'pred_instances')
        if not isinstance(instances, InstanceData) or 'scores' not in instances:
            return self
        sample = self.sample.clone()
        sample.pred_instances = instances[instances.scores >= confidence]
        kept = type(self)(sample, self.classes, self.palette, lambda: self.picture, self._paint)
        return kept.found_in(self.file, self.frame, self.time_s)

    def arrays(self) -> dict[str, np.ndarray]:
        """Return what is too large for the json, by its place in the sample: maps of depths, of panoptic classes."""
        return large_arrays(self.sample)

    def to_json(self) -> dict[str, Any]:
        """Return size and sample as plain values; of large arrays shape and type."""
        return dict(size=list(self.size), sample=plain_sample(self.sample))

    def draw(self) -> np.ndarray:
        """Return the picture as the library's visualizer draws it."""
        return self.picture if self._paint is None else self._paint(self.picture)


class _Boxes(ForeignResult):
    task = 'detection'

    @property
    def boxes(self) -> np.ndarray:
        """float64 (N, 4): x1, y1, x2, y2 in pixels of the file."""
        return to_array(self.sample.pred_instances.bboxes).astype(np.float64)

    @property
    def scores(self) -> np.ndarray:
        """float64 (N,): confidences."""
        return to_array(self.sample.pred_instances.scores).astype(np.float64)

    @property
    def labels(self) -> np.ndarray:
        """int64 (N,): class numbers."""
        return to_array(self.sample.pred_instances.labels).astype(np.int64)

    @property
    def names(self) -> list[str]:
        """The class of every box."""
        return [self.name_of(label) for label in self.labels.tolist()]

    def to_json(self) -> dict[str, Any]:
        own = dict(
            boxes=self.boxes.tolist(), scores=self.scores.tolist(), labels=self.labels.tolist(), names=self.names
        )
        return super().to_json() | own

    def draw(self) -> np.ndarray:
        if self._paint is not None:
            return super().draw()
        names = tuple(self.name_of(label) for label in range(max([len(self.classes) - 1, *self.labels]) + 1))
        return DetectionResult(self.boxes, self.scores, self.labels, names, self.size, lambda: self.picture).draw()


class _ClassMap(ForeignResult):
    task = 'segmentation'

    @property
    def label(self) -> np.ndarray:
        """(H, W): class numbers, of :func:`~mmopt.structures.pixel_labels.label_type`."""
        number_HW = to_array(self.sample.pred_sem_seg.data)[0]
        return number_HW.astype(label_type(max(len(self.classes), int(number_HW.max()) + 1)))

    def _own(self) -> SegmentationResult:
        palette = self.palette if isinstance(self.palette, list | tuple) else None
        return SegmentationResult(self.label, self.classes, palette, lambda: self.picture)

    def areas(self) -> dict[str, int]:
        """Return the number of pixels of every class."""
        return self._own().areas()

    def color(self) -> np.ndarray:
        """Return the classes' colors, uint8 RGB (H, W, 3)."""
        return self._own().color()

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | dict(pixels=self.areas())

    def draw(self) -> np.ndarray:
        return self._own().draw() if self._paint is None else super().draw()


class _Label(ForeignResult):
    task = 'classification'

    @property
    def labels(self) -> list[int]:
        """Numbers of the classes that the picture shows; usually one."""
        return [int(label) for label in np.atleast_1d(to_array(self.sample.pred_label))]

    @property
    def scores(self) -> list[float]:
        """The score of every class."""
        return [float(score) for score in np.atleast_1d(to_array(self.sample.pred_score))]

    @property
    def names(self) -> list[str]:
        """Their names."""
        return [self.name_of(label) for label in self.labels]

    def to_json(self) -> dict[str, Any]:
        return super().to_json() | dict(labels=self.labels, names=self.names, scores=self.scores)

    def draw(self) -> np.ndarray:
        if self._paint is not None:
            return super().draw()
        lines = [f'{name} {self.scores[label]:.2f}' for name, label in zip(self.names, self.labels, strict=True)]
        picture = self.picture.copy()
        size = max(15, picture.shape[0] // 20)
        picture[: 2 * size] //= 3  # letters are light
        write_text(picture, ', '.join(lines), size // 3, size // 3, size=size)
        return picture


def result_type_of(sample: Any, classes: Sequence[str], *, draws: bool) -> type[ForeignResult]:
    """Return the class of the results of a model.

    Args:
        sample: One of its predictions.
        classes: Names of the classes, if they are known.
        draws: Whether the library draws its samples.

    Returns:
        A class of its own, which knows what there is to write.
    """
    kind = ForeignResult
    instances, pixels = field(sample, 'pred_instances'), field(sample, 'pred_sem_seg')
    if instances is not None and all(_shape(field(instances, name))[1:] == rest for name, rest in _BOXES.items()):
        kind = _Boxes
    elif pixels is not None and _shape(field(pixels, 'data'))[:-2] == (1,) and 0 < len(classes) <= 256:
        kind = _ClassMap
    elif field(sample, 'pred_label') is not None and field(sample, 'pred_score') is not None:
        kind = _Label
    lacks = set() if large_arrays(sample) and kind is ForeignResult else {'npz'}
    if kind is ForeignResult and not draws:
        lacks |= {'png', 'mp4'}
    return type(kind.__name__, (kind,), dict(lacks=frozenset(lacks)))


_BOXES: Mapping[str, tuple[int, ...]] = dict(bboxes=(4,), scores=(), labels=())
"""Fields of detected boxes, with the shape of one."""


def field(element: Any, name: str) -> Any:
    """Return a field or fact of a data sample; None if it has none."""
    return element.get(name) if isinstance(element, BaseDataElement) else None


def _shape(value: Any) -> tuple[int, ...]:
    return (-1, -1, -1) if value is None else to_array(value).shape
