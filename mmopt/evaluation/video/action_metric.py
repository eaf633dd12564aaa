"""One label per sample: accuracy, macro precision, recall and F1, and the confusion matrix.

Shape letters: K classes; rows are the truth, columns the prediction.
"""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.dist import all_reduce
from mmengine.logging import print_log

from mmopt.evaluation.class_names import class_names
from mmopt.registry import METRICS

__all__ = ['ActionClassification', 'draw_confusion', 'macro_scores']


def macro_scores(confusion_KK: np.ndarray) -> dict[str, float]:
    """Compute scores from counts.

    Macro means are over the classes that occur, in truth or prediction: a class that nobody showed or named says
    nothing. A class that occurs but was never predicted has precision 0.

    Args:
        confusion_KK: Counts.

    Returns:
        ``accuracy``, ``precision``, ``recall`` and ``F1``; all 0 without any sample.
    """
    right_K, truth_K, predicted_K = confusion_KK.diagonal(), confusion_KK.sum(axis=1), confusion_KK.sum(axis=0)
    occurs_K = truth_K + predicted_K > 0
    if not occurs_K.any():
        return dict.fromkeys(('accuracy', 'precision', 'recall', 'F1'), 0.0)
    precision_K = right_K / np.maximum(predicted_K, 1)
    recall_K = right_K / np.maximum(truth_K, 1)
    f1_K = 2 * right_K / np.maximum(truth_K + predicted_K, 1)
    means = dict(precision=precision_K, recall=recall_K, F1=f1_K)
    return dict(accuracy=float(right_K.sum() / confusion_KK.sum())) | {
        name: float(value_K[occurs_K].mean()) for name, value_K in means.items()
    }


def draw_confusion(confusion_KK: np.ndarray, classes: Sequence[str], title: str = '') -> np.ndarray:
    """Draw a confusion matrix: colors by the share of each row, counts as text.

    Args:
        confusion_KK: Counts.
        classes: Names.
        title: Text at the top.

    Returns:
        uint8 RGB picture.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    num_classes = len(classes)
    side_inch = 2.2 + 0.55 * num_classes
    figure = Figure(figsize=(side_inch, side_inch), dpi=100, layout='constrained')
    canvas = FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    share_KK = confusion_KK / np.maximum(confusion_KK.sum(axis=1, keepdims=True), 1)
    axes.imshow(share_KK, cmap='Blues', vmin=0, vmax=1)
    axes.set_xticks(range(num_classes), classes, rotation=45, ha='right', rotation_mode='anchor')
    axes.set_yticks(range(num_classes), classes)
    axes.set(xlabel='predicted', ylabel='truth', title=title)
    for row, column in np.argwhere(confusion_KK > 0).tolist():
        color = 'white' if share_KK[row, column] > 0.5 else 'black'
        axes.text(column, row, str(int(confusion_KK[row, column])), ha='center', va='center', color=color)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


@METRICS.register_module()
class ActionClassification:
    """Score ``pred_label`` against ``label``; a label of -1 does not count.

    Gives ``accuracy``, macro ``precision``, ``recall`` and ``F1`` (see :func:`macro_scores`), and ``F1.<class>`` of
    each class that occurs. Counts are kept on the model's device and summed over ranks.

    Args:
        classes: Names; None: those of the data set.
        prefix: Put before every key, with a slash.
    """

    metric_keys = ('accuracy', 'precision', 'recall', 'F1', 'F1.*')
    """Names of the metrics without the prefix; ``*`` stands for a class."""

    def __init__(self, classes: Sequence[str] | None = None, prefix: str | None = None) -> None:
        self.classes = None if classes is None else tuple(classes)
        self.prefix = prefix
        self.dataset_meta: dict | None = None  # the evaluator sets it
        self.confusion_KK: np.ndarray | None = None
        """Counts of the last evaluation."""
        self._counts: torch.Tensor | None = None

    def _names(self) -> tuple[str, ...]:
        return self.classes or class_names(self)

    def process(self, data_batch: Any, data_samples: Sequence) -> None:
        """Count one batch.

        Args:
            data_batch: The batch; all that is needed is in the samples.
            data_samples: Samples (or their dicts) with ``label`` and ``pred_label``.
        """
        del data_batch  # MMEngine's signature
        num_classes = len(self._names())
        truth_B, predicted_B = (torch.stack([s.get(key) for s in data_samples]) for key in ('label', 'pred_label'))
        truth_B = truth_B.to(predicted_B.device)
        # A class more for samples without a label, so that nothing waits for the device.
        place_B = torch.where(truth_B >= 0, truth_B, num_classes) * num_classes + predicted_B
        counts = torch.zeros((num_classes + 1) * num_classes, dtype=torch.int64, device=place_B.device)
        counts.scatter_add_(0, place_B, torch.ones_like(place_B))
        self._counts = counts if self._counts is None else self._counts + counts

    def evaluate(self, size: int) -> dict[str, float]:
        """Sum the counts over ranks, compute the scores and start anew.

        Args:
            size: Samples of the data set, for the log.

        Returns:
            Metrics by name.
        """
        names = self._names()
        num_classes = len(names)
        counts = self._counts if self._counts is not None else torch.zeros((num_classes + 1) * num_classes).long()
        all_reduce(counts)
        self._counts = None
        confusion_KK = counts.view(num_classes + 1, num_classes)[:num_classes].cpu().numpy()
        self.confusion_KK = confusion_KK
        if not confusion_KK.any():
            print_log(f'ActionClassification: none of {size} samples has a label.', 'current', level=logging.WARNING)
        scores = macro_scores(confusion_KK)
        for index, name in enumerate(names):
            total = confusion_KK[index].sum() + confusion_KK[:, index].sum()
            if total:
                scores[f'F1.{name}'] = float(2 * confusion_KK[index, index] / total)
        return {f'{self.prefix}/{key}' if self.prefix else key: value for key, value in scores.items()}

    def draw(self) -> dict[str, np.ndarray]:
        """Return the confusion matrix of the last evaluation as ``confusion_matrix``; nothing before the first."""
        if self.confusion_KK is None:
            return {}
        title = f'accuracy {macro_scores(self.confusion_KK)["accuracy"]:.3f}, {int(self.confusion_KK.sum())} samples'
        return dict(confusion_matrix=draw_confusion(self.confusion_KK, self._names(), title))
