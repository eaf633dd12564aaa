"""Data sets of MMEngine's libraries in a prediction: their test pipeline on a picture, and what comes of the model.

A library's data set has neither ``predict_info`` nor ``to_result``. Its pipeline starts from ``img_path`` all the same,
and what its model gives is told by the fields of the data samples. Which ones those are is found by trying: the
formats of a prediction are chosen before its first picture.
"""

import re
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np

from mmopt.apis.pictures.painter import find_painter
from mmopt.apis.predict.foreign.results import ForeignResult, result_type_of
from mmopt.datasets.common import SeededDataset, decode_file
from mmopt.datasets.common.predict import Source, picture_info, predict_sample
from mmopt.registry import DATASETS, TRANSFORMS
from mmopt.utils.errors import DataError, UserError

__all__ = ['ForeignData', 'is_foreign']

_LOADS_TRUTH = re.compile(r'Load\w*Annotation')
_TRIAL_SIZE = (192, 256)
_REMEDY = (
    'A step that is there for labels alone is left out of a prediction if its class has the attribute '
    'loads_truth = True; or give another pipeline in the test_dataloader of a child config.'
)


def is_foreign(kind: type) -> bool:
    """Tell a data set of a library from one of mmopt or derived from it, which says itself what it can predict."""
    return kind.__module__.partition('.')[0] != 'mmopt' and not issubclass(kind, SeededDataset)


class ForeignData:
    """What a predictor needs of a library's data set; no sample of it is read.

    Args:
        kind: Its class.
        section: Its config, with the test pipeline.
        trained_on: What the checkpoint says of the training data; its classes are those of the model.
        cfg: The lowered config, whose visualizer draws.

    Raises:
        UserError: If it has no pipeline.
    """

    def __init__(
        self, kind: type, section: Mapping[str, Any], trained_on: Mapping[str, Any], cfg: Mapping[str, Any]
    ) -> None:
        self.name = kind.__name__
        if not section.get('pipeline'):
            raise UserError(
                f'{self.name} has no pipeline in the config: there is nothing that a picture could go through.'
            )
        self.metainfo = _metainfo(kind, section, trained_on)
        self.result_type: type[ForeignResult] = ForeignResult
        self.pipeline = SimpleNamespace(transforms=[self._prepare])
        self._steps = [step for step in map(TRANSFORMS.build, section['pipeline']) if not _is_for_truth(step)]
        self._painter = find_painter(self, cfg)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return 0

    def predict_info(self, source: Source) -> dict[str, Any]:
        """Return what the pipeline starts from; an array is a file for as long as the pipeline runs."""
        return picture_info(source)

    def _prepare(self, results: dict[str, Any]) -> dict[str, Any]:
        """Run the library's steps."""
        array = results.get('img')
        if array is None:
            return self._run(results['img_path'])
        with tempfile.TemporaryDirectory(prefix='mmopt-predict-') as folder:
            path = Path(folder, 'picture.bmp')
            _, encoded = cv2.imencode('.bmp', array[..., ::-1])
            path.write_bytes(encoded.tobytes())
            return self._run(str(path))

    def _run(self, path: str) -> dict[str, Any]:
        # Beside the path what MMEngine's data sets add, and the lists in which loaders of labels note theirs.
        results: Any = dict(self.metainfo, img_path=path, img_id=0, sample_idx=0, instances=[], seg_fields=[])
        for step in self._steps:
            was_loaded = results.get('img') is not None
            try:
                results = step(results)
            except Exception as error:
                reason = f'{type(step).__name__}: {type(error).__name__}: {error}'
                if not was_loaded:
                    raise DataError(f'{path} cannot be read by {reason}') from error
                raise UserError(f'The test pipeline of {self.name} fails on {path} in {reason}. {_REMEDY}') from error
            if results is None:
                raise DataError(f'{path}: {type(step).__name__} of the test pipeline drops it.')
            if not was_loaded and isinstance(results.get('img'), np.ndarray) and 'bbox' not in results:
                # Models of one object per picture, as of poses, are asked about the whole.
                height, width = results['img'].shape[:2]
                whole = np.array([[0, 0, width, height]], np.float32)
                results.update(bbox=whole, bbox_score=np.ones(1, np.float32))
        return results

    def try_out(self, predict: Callable[[list[Any]], Sequence[Any]]) -> None:
        """Find out what the model gives, from a picture of noise.

        Args:
            predict: Called with prepared samples; returns what the model made of them.

        Raises:
            UserError: If the pipeline cannot prepare a picture, or the model gives no list of samples.
        """
        noise = np.random.default_rng(0).integers(0, 256, (*_TRIAL_SIZE, 3), dtype=np.uint8)
        try:
            prepared = predict_sample(self, noise)
        except DataError as error:
            raise UserError(f'The test pipeline of {self.name} reads no pictures: {error} {_REMEDY}') from error
        predicted = predict([prepared])
        if not isinstance(predicted, list | tuple) or len(predicted) != 1:
            raise UserError(
                f'The test_step of the model gives a {type(predicted).__name__}; a prediction needs a list with a data '
                'sample for each picture.'
            )
        self.result_type = result_type_of(predicted[0], self.metainfo['classes'], draws=self._painter is not None)

    def to_result(self, sample: Any, source: Source) -> ForeignResult:
        """Return a predicted sample as a result."""
        draw = None if self._painter is None else partial(self._draw, sample)
        load = partial(_read, source)
        return self.result_type(sample, self.metainfo['classes'], self.metainfo.get('palette'), load, draw)

    def _draw(self, sample: Any, picture: np.ndarray) -> np.ndarray:
        assert self._painter is not None
        with self._lock:  # visualizers draw into a canvas of their own
            return self._painter.draw_prediction(0, sample, picture)


def _is_for_truth(step: Any) -> bool:
    return bool(getattr(step, 'loads_truth', False) or _LOADS_TRUTH.match(type(step).__name__))


def _metainfo(kind: type, section: Mapping[str, Any], trained_on: Mapping[str, Any]) -> dict[str, Any]:
    """Merge what is known of the classes: the config goes before the checkpoint, and that before the class."""
    try:
        known = dict(DATASETS.build(dict(section, lazy_init=True)).metainfo)
    except Exception:  # it wants its files, which a prediction does not need
        known = dict(getattr(kind, 'METAINFO', None) or {})
    said = dict(section.get('metainfo') or {})
    trained = {str(key).lower(): value for key, value in trained_on.items()}
    merged = known | {key: trained[key] for key in ('classes', 'palette') if trained.get(key)}
    merged |= {key: value for key, value in said.items() if key in ('classes', 'palette') and value}
    return merged | dict(classes=tuple(merged.get('classes') or ()))


def _read(source: Source) -> np.ndarray:
    """Return a picture as it is displayed, uint8 RGB."""
    if isinstance(source, np.ndarray):
        return picture_info(source)['img']
    return np.ascontiguousarray(decode_file(source, cv2.IMREAD_COLOR)[..., ::-1])
