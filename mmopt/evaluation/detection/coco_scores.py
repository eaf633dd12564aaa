"""COCO's average precision, and precision and recall over the confidence, from plain arrays.

Shape letters: N predictions and M true boxes of one image, T IoU thresholds, R recall steps, K classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mmopt.utils.errors import UserError

__all__ = ['ConfidenceCurve', 'ImageBoxes', 'coco_scores', 'confidence_curve', 'to_coco']


@dataclass(frozen=True)
class ImageBoxes:
    """Predictions and truth of one image.

    Attributes:
        boxes_N4: Predicted x1, y1, x2, y2 in pixels of the file.
        labels_N: Predicted classes.
        truth_M6: x1, y1, x2, y2, class, and 1 for a crowd.
        size: Height and width of the file.
    """

    boxes_N4: np.ndarray
    scores_N: np.ndarray
    labels_N: np.ndarray
    truth_M6: np.ndarray
    size: tuple[int, int]


def _xywh(boxes_N4: np.ndarray) -> list[list[float]]:
    """Return x, y, width, height as COCO writes them."""
    boxes = boxes_N4.astype(np.float64)
    return np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1).tolist()


def to_coco(images: Sequence[ImageBoxes], classes: Sequence[str]) -> tuple[dict, list[dict]]:
    """Write truth and predictions as COCO's json has them; ids begin at 1.

    Args:
        classes: Names.

    Returns:
        The truth and the list of predictions.
    """
    annotations: list[dict] = []
    predictions: list[dict] = []
    for number, image in enumerate(images, start=1):
        for box, label, crowd in zip(
            _xywh(image.truth_M6[:, :4]), *image.truth_M6[:, 4:].astype(int).T.tolist(), strict=True
        ):
            annotations.append(
                dict(
                    id=len(annotations) + 1,
                    image_id=number,
                    category_id=label + 1,
                    bbox=box,
                    area=box[2] * box[3],
                    iscrowd=crowd,
                )
            )
        rows = zip(_xywh(image.boxes_N4), image.scores_N.tolist(), image.labels_N.tolist(), strict=True)
        predictions += [
            dict(image_id=number, category_id=int(label) + 1, bbox=box, score=score) for box, score, label in rows
        ]
    truth = dict(
        info={},
        images=[
            dict(id=number, height=image.size[0], width=image.size[1]) for number, image in enumerate(images, start=1)
        ],
        categories=[dict(id=label, name=name) for label, name in enumerate(classes, start=1)],
        annotations=annotations,
    )
    return truth, predictions


def coco_scores(images: Sequence[ImageBoxes], classes: Sequence[str]) -> dict[str, float]:
    """Compute COCO's metrics; areas are of boxes, in pixels of the file.

    Args:
        images: Predictions and truth.
        classes: Names, in the order of the labels.

    Returns:
        ``mAP`` (IoU 0.5 to 0.95), ``mAP50``, ``mAP75``, ``mAP_small`` (below 32 x 32), ``mAP_medium``,
        ``mAP_large`` (from 96 x 96 on), ``AR1``, ``AR10``, ``AR100``, and of several classes ``mAP50.<class>``. What
        has no true box is left out; without any, ``mAP`` and ``mAP50`` are 0.

    Raises:
        UserError: If faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ImportError as error:
        raise UserError("COCO metrics need faster-coco-eval: pip install 'mmopt[detection]'.") from error
    truth, predictions = to_coco(images, classes)
    if not any(not item['iscrowd'] for item in truth['annotations']):
        return dict(mAP=0.0, mAP50=0.0)
    gt = COCO(truth)
    evaluation = COCOeval_faster(gt, gt.loadRes(predictions), 'bbox', extra_calc=False)
    evaluation.evaluate()
    evaluation.accumulate()
    # precision (T, R, K, areas, maximal numbers), recall (T, K, areas, maximal numbers); -1 where there is no truth.
    precision, recall = evaluation.eval['precision'], evaluation.eval['recall']
    found = dict(
        mAP=precision[:, :, :, 0, -1],
        mAP50=precision[0, :, :, 0, -1],
        mAP75=precision[5, :, :, 0, -1],
        mAP_small=precision[:, :, :, 1, -1],
        mAP_medium=precision[:, :, :, 2, -1],
        mAP_large=precision[:, :, :, 3, -1],
        AR1=recall[:, :, 0, 0],
        AR10=recall[:, :, 0, 1],
        AR100=recall[:, :, 0, 2],
    )
    if len(classes) > 1:
        found |= {f'mAP50.{name}': precision[0, :, label, 0, -1] for label, name in enumerate(classes)}
    return {name: float(values[values > -1].mean()) for name, values in found.items() if (values > -1).any()}


@dataclass(frozen=True)
class ConfidenceCurve:
    """Precision and recall of the predictions above each confidence, all classes pooled, at IoU 0.5.

    Attributes:
        confidence: Decreasing scores at which something changes.
        precision: Share of the predictions from there on that are right.
        recall: Share of the true boxes that they find.
        num_truth: True boxes.
    """

    confidence: np.ndarray
    precision: np.ndarray
    recall: np.ndarray
    num_images: int
    num_truth: int

    @property
    def f1(self) -> np.ndarray:
        """Harmonic mean of precision and recall."""
        return 2 * self.precision * self.recall / np.maximum(self.precision + self.recall, 1e-12)

    def best(self) -> float:
        """Return the confidence of the best F1; 0.5 where there is no prediction or no true box."""
        return float(self.confidence[self.f1.argmax()]) if len(self.confidence) and self.num_truth else 0.5

    def at(self, confidence: float) -> dict[str, float]:
        """Return precision, recall, F1 and false positives per image of the predictions from a confidence on."""
        count = int((self.confidence >= confidence).sum())
        if not count:
            return dict(precision=0.0, recall=0.0, F1=0.0, fp_per_image=0.0)
        index = count - 1
        precision, recall = float(self.precision[index]), float(self.recall[index])
        wrong = self._num_predicted[index] * (1 - precision)
        return dict(
            precision=precision,
            recall=recall,
            F1=float(self.f1[index]),
            fp_per_image=float(round(wrong) / self.num_images),
        )

    @property
    def _num_predicted(self) -> np.ndarray:
        return np.arange(1, len(self.confidence) + 1)


def _match(image: ImageBoxes, min_iou: float) -> tuple[np.ndarray, np.ndarray]:
    """Match predictions to truth of their class, best first, each to the freest of its best overlaps.

    Args:
        min_iou: Least overlap.

    Returns:
        Whether each prediction is right, and whether it counts (it lies on no crowd).
    """
    truth, crowd = image.truth_M6, image.truth_M6[:, 5] > 0
    right, counts = np.zeros(len(image.scores_N), bool), np.ones(len(image.scores_N), bool)
    taken = np.zeros(len(truth), bool)
    for n in np.argsort(-image.scores_N, kind='stable'):
        box = image.boxes_N4[n].astype(np.float64)
        low, high = np.maximum(box[:2], truth[:, :2]), np.minimum(box[2:], truth[:, 2:4])
        shared = (high - low).clip(0).prod(axis=1)
        area, areas = (box[2:] - box[:2]).prod(), (truth[:, 2:4] - truth[:, :2]).prod(axis=1)
        # Of a crowd any part may be found: the share of the prediction counts.
        iou = shared / np.maximum(np.where(crowd, area, area + areas - shared), 1e-12)
        fits = (iou >= min_iou) & (truth[:, 4] == image.labels_N[n]) & ~(taken & ~crowd)
        if (fits & ~crowd).any():
            best = int(np.where(fits & ~crowd, iou, -1.0).argmax())
            taken[best] = right[n] = True
        elif fits.any():
            counts[n] = False
    return right, counts


def confidence_curve(images: Sequence[ImageBoxes], min_iou: float = 0.5) -> ConfidenceCurve:
    """Compute precision and recall over the confidence.

    Args:
        images: Predictions and truth.
        min_iou: Least overlap of a right prediction.

    Returns:
        The curve.
    """
    matched = [_match(image, min_iou) for image in images]
    counts = np.concatenate([counts for _, counts in matched]) if matched else np.zeros(0, bool)
    right = np.concatenate([right for right, _ in matched])[counts] if matched else counts
    scores = np.concatenate([image.scores_N for image in images])[counts] if matched else np.zeros(0)
    order = np.argsort(-scores, kind='stable')
    num_right = np.cumsum(right[order])
    num_truth = int(sum((image.truth_M6[:, 5] == 0).sum() for image in images))
    return ConfidenceCurve(
        confidence=scores[order],
        precision=num_right / np.arange(1, len(order) + 1),
        recall=num_right / max(num_truth, 1),
        num_images=len(images),
        num_truth=num_truth,
    )
