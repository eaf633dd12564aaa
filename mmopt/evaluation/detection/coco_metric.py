"""The metric of box detection: COCO's average precision and the confidence curve."""

import json
import logging
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.dist import all_gather_object, is_main_process
from mmengine.logging import print_log

from mmopt.evaluation.class_names import class_names
from mmopt.evaluation.detection.coco_scores import ConfidenceCurve, ImageBoxes, coco_scores, confidence_curve
from mmopt.ops.letterbox import to_file_pixels
from mmopt.registry import METRICS

__all__ = ['CocoDetection']


@METRICS.register_module()
class CocoDetection:
    """Measure boxes.

    ================ ==================================================================================================
    ``mAP``, ...     see :func:`~mmopt.evaluation.detection.coco_scores.coco_scores`
    ``F1``           with ``precision``, ``recall`` and ``fp_per_image`` (false positives per image): of the predictions
                     from ``confidence`` on, which is the confidence of the best F1 unless ``score_threshold`` sets it
    ================ ==================================================================================================

    Args:
        score_threshold: Confidence for F1 and its companions; None: the best on this data set itself.
        out_dir: Folder for ``confidence_curve.png`` and ``.json`` (confidence, precision, recall, F1); None writes
            nothing.
        prefix: Put before every key, with a slash.
    """

    metric_keys = (
        *('mAP', 'mAP50', 'mAP75', 'mAP_small', 'mAP_medium', 'mAP_large', 'AR1', 'AR10', 'AR100', 'mAP50.*'),
        *('precision', 'recall', 'F1', 'fp_per_image', 'confidence'),
    )
    """Names of the metrics without the prefix; ``*`` stands for a class."""

    def __init__(
        self, score_threshold: float | None = None, out_dir: str | None = None, prefix: str | None = None
    ) -> None:
        self.score_threshold = score_threshold
        self.out_dir = out_dir
        self.prefix = prefix
        self.dataset_meta: dict | None = None  # the evaluator sets it
        self._images: list[ImageBoxes] = []

    def process(self, data_batch: Any, data_samples: Sequence) -> None:
        """Note the boxes of one batch, in pixels of the files.

        Args:
            data_batch: The batch; all that is needed is in the samples.
            data_samples: Samples (or their dicts) of a data set in test mode, with predictions.
        """
        del data_batch  # MMEngine's signature
        for sample in data_samples:
            height, width = sample.get('ori_shape')[:2]
            self._images.append(
                ImageBoxes(
                    boxes_N4=to_file_pixels(
                        sample.get('pred_boxes').cpu().numpy(), sample.get('letterbox'), (height, width)
                    ),
                    scores_N=sample.get('pred_scores').cpu().numpy().astype(np.float64),
                    labels_N=sample.get('pred_labels').cpu().numpy(),
                    truth_M6=sample.get('truth').cpu().numpy().astype(np.float64),
                    size=(height, width),
                )
            )

    def evaluate(self, size: int) -> dict[str, float]:
        """Gather the boxes of all ranks, compute the metrics and start anew.

        Args:
            size: Samples of the data set, for the log.

        Returns:
            Metrics by name.
        """
        images = list(chain.from_iterable(all_gather_object(self._images)))
        self._images = []
        metrics = coco_scores(images, class_names(self))
        curve = confidence_curve(images)
        if not curve.num_truth:
            print_log(f'CocoDetection: none of {size} images has a true box: mAP is 0.', 'current', logging.WARNING)
        confidence = curve.best() if self.score_threshold is None else self.score_threshold
        metrics |= curve.at(confidence) | dict(confidence=confidence)
        if self.out_dir is not None and is_main_process():
            _write_curve(Path(self.out_dir), curve, confidence)
        return {f'{self.prefix}/{key}' if self.prefix else key: value for key, value in metrics.items()}


def _write_curve(folder: Path, curve: ConfidenceCurve, confidence: float) -> None:
    from matplotlib.figure import Figure

    folder.mkdir(parents=True, exist_ok=True)
    columns = dict(precision=curve.precision, recall=curve.recall, F1=curve.f1)
    # A thousand points are more than a picture shows, whatever the size of the data set.
    step = slice(None, None, max(len(curve.confidence) // 1000, 1))
    rows = {
        name: np.round(values[step], 6).tolist()
        for name, values in dict(confidence=curve.confidence, **columns).items()
    }
    (folder / 'confidence_curve.json').write_text(json.dumps(rows) + '\n', encoding='utf-8')
    figure = Figure(figsize=(6, 4), layout='constrained')
    axes = figure.subplots()
    for name, values in columns.items():
        axes.plot(curve.confidence[step], values[step], label=name)
    axes.axvline(confidence, color='0.6', linestyle='--', linewidth=1)
    axes.set(xlabel='confidence', xlim=(0, 1), ylim=(0, 1), title='at IoU 0.5')
    axes.legend()
    figure.savefig(folder / 'confidence_curve.png', dpi=110)
