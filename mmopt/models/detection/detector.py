"""YOLOv5: backbone, neck, anchor head, losses and predictions.

YOLOv5 has no paper. Deviations: where several boxes meet in one anchor, its objectness learns the best overlap (the
last one written elsewhere); predictions have one class each.

Shape letters: B batch, C channels, H W image, N predictions, K classes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmengine.model import BaseModel
from torch import Tensor

from mmopt.models.detection.complete import complete_detector
from mmopt.models.detection.inference import gather_candidates
from mmopt.models.detection.losses import (
    BOX_PREPROCESSOR,
    IOU_LOSSES,
    box_losses,
    collect_boxes,
    find_positives,
    send_boxes,
)
from mmopt.ops.nms import box_nms
from mmopt.registry import MODELS
from mmopt.structures import DataSample, require_samples
from mmopt.structures.complete_graph import CompleteGraph

__all__ = ['AnchorDetector']


@MODELS.register_module()
class AnchorDetector(BaseModel):
    """Detect boxes.

    Samples carry ``boxes`` (G, 4), x1 y1 x2 y2 in pixels of the network's input, ``labels`` (G,) and ``img_shape``.
    Predictions: ``pred_boxes`` (N, 4) in the same pixels, ``pred_scores`` (N,) and ``pred_labels`` (N,), best first.

    Args:
        backbone: Config; has ``out_channels`` and ``strides``.
        neck: Config; gets the backbone's channels as ``in_channels``.
        head: Config; gets the neck's channels as ``in_channels`` and the backbone's ``strides``.
        iou_loss: ``'ciou'`` or ``'giou'``.
        box_weight: Weight of the box loss.
        objectness_weight: Weight of the objectness loss.
        class_weight: Weight of the class loss; None: 0.5 for COCO's 80 classes and in proportion for fewer, which have
            less to tell apart, as YOLOv5 does.
        level_weights: Weight of each level's objectness, finest first.
        max_ratio: Sides of an anchor and a box that it learns differ by less than this factor.
        score_threshold: Predictions need a higher score.
        nms_iou: Overlap with a better prediction of the same class above which a prediction is dropped.
        max_candidates: Best predictions of an image that enter the suppression.
        max_predictions: Best ones that leave it.
        eval_scales: Sizes in which predictions are looked for; suppression merges them.
        eval_flip: Look in mirrored images as well.
        data_preprocessor: Config; the default only moves the batch to the device, without its boxes.

    Raises:
        ValueError: If ``iou_loss`` is unknown, there is not one weight per level, or a size is not positive.
    """

    classes_remedy = 'model.head.num_classes'
    tta_options = dict(eval_scales=(0.83, 1.0, 1.2), eval_flip=True)

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        iou_loss: str = 'ciou',
        box_weight: float = 0.05,
        objectness_weight: float = 1.0,
        class_weight: float | None = 0.5,
        level_weights: Sequence[float] = (4.0, 1.0, 0.4),
        max_ratio: float = 4.0,
        score_threshold: float = 0.05,
        nms_iou: float = 0.5,
        max_candidates: int = 1000,
        max_predictions: int = 100,
        eval_scales: Sequence[float] = (1.0,),
        eval_flip: bool = False,
        data_preprocessor: dict | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(data_preprocessor or BOX_PREPROCESSOR, init_cfg)
        if iou_loss not in IOU_LOSSES:
            raise ValueError(f'AnchorDetector: iou_loss must be one of {sorted(IOU_LOSSES)}, got {iou_loss!r}.')
        if not eval_scales or min(eval_scales) <= 0:
            raise ValueError(f'AnchorDetector: eval_scales are positive and at least one, got {list(eval_scales)}.')
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(dict(neck, in_channels=self.backbone.out_channels))
        strides = self.backbone.strides
        self.head = MODELS.build(dict(head, in_channels=self.neck.out_channels, strides=strides))
        self.num_classes = self.head.num_classes
        if len(level_weights) != len(strides):
            raise ValueError(f'AnchorDetector: {len(level_weights)} level_weights for the strides {tuple(strides)}.')
        if class_weight is None:
            class_weight = 0.5 / 80 * self.num_classes
        self.weights = {'box': box_weight, 'objectness': objectness_weight, 'class': class_weight}
        self.max_ratio = max_ratio
        self.loss_options: dict[str, Any] = dict(iou_loss=iou_loss, level_weights=tuple(level_weights))
        self.score_threshold = score_threshold
        self.nms_iou = nms_iou
        self.max_candidates = max_candidates
        self.max_predictions = max_predictions
        self.eval_options: dict[str, Any] = dict(scales=tuple(eval_scales), flip=eval_flip)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        mode: str = 'tensor',
        normalizers: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor] | list[DataSample] | list[Tensor]:
        """Run the network.

        Args:
            inputs: Normalized images (B, C, H, W); sides are multiples of the coarsest stride.
            data_samples: One sample per image; needed except for mode ``'tensor'``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            normalizers: From :meth:`loss_normalizers` over the whole batch of which ``inputs`` may be a part.

        Returns:
            Losses by name; or the samples with predictions; or the head's outputs per level.

        Raises:
            ValueError: If the image does not fit the strides, or the mode is unknown.
        """
        if mode not in ('loss', 'predict', 'tensor'):
            raise ValueError(f"AnchorDetector: mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")
        coarsest = max(self.head.strides)
        if inputs.shape[-2] % coarsest or inputs.shape[-1] % coarsest:
            raise ValueError(
                f'AnchorDetector: the image is {inputs.shape[-2]}x{inputs.shape[-1]} (height x width); both must be '
                f"multiples of {coarsest}: change the pipeline's Letterbox."
            )
        if mode == 'predict':
            return self._predict(*self.candidates(inputs), require_samples(data_samples, self, mode))
        outputs = self.head(self.neck(self.backbone(inputs)))
        if mode == 'tensor':
            return outputs
        data_samples = require_samples(data_samples, self, mode)
        with torch.autocast(inputs.device.type, enabled=False):
            truth = collect_boxes(data_samples)
            truth, positives = send_boxes(truth, find_positives(self.head, truth, self.max_ratio), inputs.device)
            if normalizers is None:
                normalizers = self.loss_normalizers(data_samples)
            losses = box_losses(self.head, outputs, truth, positives, normalizers, **self.loss_options)
        return {f'loss_{name}': self.weights[name] * value for name, value in losses.items()}

    def loss_normalizers(self, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Count, over the batch, the positives of each level and the samples.

        Args:
            data_samples: All samples of the batch.

        Returns:
            ``positives`` (levels,), at least 1 each, and ``samples``: float32.
        """
        anchors_LA2 = self.head.anchors_LA2
        found = find_positives(self.head, collect_boxes(data_samples), self.max_ratio)
        # The lengths are known on the host; filled on the device, so that nothing is copied and waited for.
        positives_L = torch.stack([anchors_LA2.new_full((), max(len(level.box_N), 1)) for level in found])
        return dict(positives=positives_L, samples=anchors_LA2.new_full((), len(data_samples)))

    def complete_graph(self, data_samples: Sequence[DataSample]) -> CompleteGraph:
        """Return the model from uint8 images to boxes; see :mod:`mmopt.structures.complete_graph`."""
        del data_samples  # nothing depends on them
        return complete_detector(self)

    def candidates(self, inputs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the boxes (B, N, 4) of all anchors, cells and views of the evaluation, and their scores (B, N, K)."""

        def decode(images_BCHW: Tensor) -> tuple[Tensor, Tensor]:
            outputs = self.head(self.neck(self.backbone(images_BCHW)))
            with torch.autocast(inputs.device.type, enabled=False):
                return self.head.decode(outputs)

        return gather_candidates(decode, inputs, **self.eval_options, divisor=max(self.head.strides))

    @property
    def num_candidates(self) -> int:
        """Best candidates of an image that enter the suppression: so many of every view."""
        return self.max_candidates * len(self.eval_options['scales']) * (2 if self.eval_options['flip'] else 1)

    def _predict(self, boxes_BN4: Tensor, scores_BNK: Tensor, data_samples: Sequence[DataSample]) -> list[DataSample]:
        best_BN, label_BN = scores_BNK.max(dim=-1)
        for sample, boxes_N4, best_N, label_N in zip(data_samples, boxes_BN4, best_BN, label_BN, strict=True):
            top_N = best_N.topk(min(self.num_candidates, len(best_N))).indices
            top_N = top_N[best_N[top_N] > self.score_threshold]
            height, width = sample.img_shape
            limit_4 = boxes_N4.new_tensor([width, height, width, height])
            candidates_N4 = torch.minimum(boxes_N4[top_N].clamp(min=0), limit_4)
            kept = box_nms(candidates_N4, best_N[top_N], self.nms_iou, label_N[top_N])[: self.max_predictions]
            sample.pred_boxes = candidates_N4[kept]
            sample.pred_scores = best_N[top_N][kept]
            sample.pred_labels = label_N[top_N][kept]
        return list(data_samples)
