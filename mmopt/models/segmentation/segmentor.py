"""Real-time segmentation with a boundary loss: backbone, heads, losses, prediction.

Shape letters: B batch, K classes, H W image and label, h w logits.
"""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from mmengine.logging import print_log
from mmengine.model import BaseModel
from torch import Tensor, nn
from torch.nn import functional as F

from mmopt.models.segmentation.bisenetv2 import BilateralFeatures
from mmopt.models.segmentation.complete import complete_segmentor
from mmopt.models.segmentation.inference import average_probabilities
from mmopt.models.segmentation.losses import (
    EDGE_BIT,
    NEAR_BIT,
    count_regions,
    hard_pixel_mean,
    pixel_cross_entropy,
    region_sum,
)
from mmopt.models.segmentation.point_head import labels_at
from mmopt.registry import MODELS
from mmopt.structures import DataSample, require_samples
from mmopt.structures.complete_graph import CompleteGraph
from mmopt.structures.pixel_labels import ignored_label, label_type

__all__ = ['BoundarySegmentor']

_STAGES = ('stem', 's3', 's4', 's5')


@MODELS.register_module()
class BoundarySegmentor(BaseModel):
    """Give every pixel one class.

    Samples carry ``label`` (uint8 ``(H, W)``, 255 where nothing counts; with more than 254 classes int16 and 32767)
    and, with a boundary term, ``regions`` (uint8 ``(H, W)``, see
    :class:`~mmopt.datasets.segmentation.BoundaryRegions`). Predictions are ``pred_label``, of the label's type, at the
    size of the image on disk.

    Gradients of micro-batches equal those of the batch (BatchNorm and dropout aside) except with hard pixel mining:
    each part then chooses its own hard pixels, and their means are weighted by the parts' valid pixels. The log says so
    once.

    Args:
        backbone: Config of the backbone; see :class:`~mmopt.models.segmentation.BiSeNetV2`.
        head: Config of the main head.
        auxiliary_heads: Configs of heads on the semantic branch, by stage (``stem``, ``s3``, ``s4``, ``s5``); they
            exist for the loss alone.
        point_head: Config of a point head: trained on uncertain points, refines predictions; None leaves it out.
        data_preprocessor: Config of the preprocessor.
        ohem_threshold: Pixels whose true class is less probable are hard; None averages over all pixels.
        ohem_min_share: Share of the valid pixels that is averaged at least.
        auxiliary_weight: Weight of each auxiliary loss.
        edge_loss_factor: Weight of the cross-entropy on the band around class borders; 0 leaves it out.
        distance_loss_weight: Weight of the cross-entropy where the normalized distance to a border is small; 0 leaves
            it out.
        point_loss_weight: Weight of the point head's cross-entropy.
        recompute_logits: Enlarge logits again in backward instead of keeping them.
        eval_scales: Sizes whose probabilities are averaged.
        eval_flip: Average mirrored images as well.
        eval_window: Height and width of sliding windows; None predicts whole images.
        eval_stride: Step of the windows; two thirds of the window by default.

    Raises:
        ValueError: If an auxiliary head's stage is unknown, heads differ in their classes, or a value is out of range.
    """

    needs_all_classes = True
    tta_options = dict(eval_scales=(0.75, 1.0, 1.25), eval_flip=True)
    classes_remedy = 'num_classes of head, auxiliary_heads and point_head'

    def __init__(
        self,
        backbone: dict,
        head: dict,
        auxiliary_heads: dict[str, dict] | None = None,
        point_head: dict | None = None,
        data_preprocessor: dict | None = None,
        *,
        ohem_threshold: float | None = 0.7,
        ohem_min_share: float = 1 / 16,
        auxiliary_weight: float = 1.0,
        edge_loss_factor: float = 5.0,
        distance_loss_weight: float = 10.0,
        point_loss_weight: float = 1.0,
        recompute_logits: bool = False,
        eval_scales: Sequence[float] = (1.0,),
        eval_flip: bool = False,
        eval_window: tuple[int, int] | None = None,
        eval_stride: tuple[int, int] | None = None,
        init_cfg: dict | None = None,
    ) -> None:
        # Built here: MMEngine's base class would look the name up in its own registry unless a scope is set.
        preprocessor = MODELS.build(data_preprocessor or dict(type='ImagePreprocessor'))
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        unknown = sorted(set(auxiliary_heads or {}) - set(_STAGES))
        if unknown:
            raise ValueError(f'BoundarySegmentor: auxiliary_heads has {unknown}; the stages are {list(_STAGES)}.')
        if ohem_threshold is not None and not 0 < ohem_threshold < 1:
            raise ValueError(f'BoundarySegmentor: ohem_threshold is a probability or None, got {ohem_threshold}.')
        if not eval_scales or min(eval_scales) <= 0:
            raise ValueError(f'BoundarySegmentor: eval_scales are positive and at least one, got {list(eval_scales)}.')
        if eval_stride is not None and eval_window is None:
            raise ValueError(
                f'BoundarySegmentor: eval_stride={eval_stride} is a step of windows: set eval_window, too.'
            )
        self.backbone = MODELS.build(backbone)
        self.head = MODELS.build(head)
        # The suffix: custom keys of the optimizer ('head', 'head.norm') find main and auxiliary heads alike.
        self.auxiliary = nn.ModuleDict(
            {f'{stage}_head': MODELS.build(cfg) for stage, cfg in (auxiliary_heads or {}).items()}
        )
        self.point_head = None if point_head is None else MODELS.build(point_head)
        self.num_classes = self.head.num_classes
        others = [*self.auxiliary.values(), *([] if self.point_head is None else [self.point_head])]
        counts = [self.num_classes, *(other.num_classes for other in others)]
        if len(set(counts)) > 1:
            raise ValueError(
                f'BoundarySegmentor: head, auxiliary_heads and point_head must have the same num_classes, got {counts}.'
            )
        self.ohem_threshold = ohem_threshold
        self.ohem_min_share = ohem_min_share
        self.auxiliary_weight = auxiliary_weight
        self.edge_loss_factor = edge_loss_factor
        self.distance_loss_weight = distance_loss_weight
        self.point_loss_weight = point_loss_weight
        self.recompute_logits = recompute_logits
        self.eval_options: dict[str, Any] = dict(
            scales=tuple(eval_scales), flip=eval_flip, window=eval_window, stride=eval_stride
        )
        self.keep_probabilities = False
        """Whether predictions hold ``pred_probability`` as well: float16 (K, H, W) in the size of the file."""
        self._whole_batch: int | None = None
        self._said_inexact = False

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        mode: str = 'tensor',
        normalizers: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor] | list[DataSample] | Tensor:
        """Run the network.

        Args:
            inputs: Normalized images ``(B, 3, H, W)``.
            data_samples: One sample per image; needed for mode ``'loss'``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            normalizers: From :meth:`loss_normalizers` over the whole batch of which ``inputs`` may be a part.

        Returns:
            Losses by name; or samples with ``pred_label``; or the logits ``(B, K, H, W)`` at the size of the inputs.

        Raises:
            ValueError: If the samples lack a field or the mode is unknown.
        """
        if mode == 'tensor':
            return self._logits(inputs)
        if mode == 'predict':
            self._check_classes(data_samples or ())
            return self._predict(inputs, data_samples)
        if mode != 'loss':
            raise ValueError(f"BoundarySegmentor: mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")
        data_samples = require_samples(data_samples, self, mode)
        if normalizers is None:
            normalizers = self.loss_normalizers(data_samples)
        self._say_inexact(data_samples)
        self._check_classes(data_samples)
        label_size = tuple(data_samples[0].label.shape)
        if label_size != tuple(inputs.shape[-2:]):
            raise ValueError(
                f'BoundarySegmentor: the images are {tuple(inputs.shape[-2:])} after padding, the labels {label_size}: '
                'give all training images one size (RandomScaleCropFlip), a multiple of pad_size_divisor.'
            )
        return self._losses(self.backbone(inputs), data_samples, normalizers)

    def complete_graph(self, data_samples: Sequence[DataSample]) -> CompleteGraph:
        """Return the model from uint8 images to classes; see :mod:`mmopt.structures.complete_graph`."""
        return complete_segmentor(self, data_samples)

    @property
    def needs_regions(self) -> bool:
        """Whether the loss has a boundary term."""
        return bool(self.edge_loss_factor or self.distance_loss_weight)

    def loss_normalizers(self, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Count the pixels that the losses are averaged over.

        Args:
            data_samples: The samples of the whole batch.

        Returns:
            float32 scalars on the samples' device, at least 1: ``num_valid``, with a boundary term ``num_edge`` and
            ``num_near``, with a point head ``num_points``.
        """
        valid_BHW = self._field(data_samples, 'label') != ignored_label(data_samples[0].label.dtype)
        normalizers = dict(num_valid=valid_BHW.sum().clamp(min=1).float())
        if self.needs_regions:
            regions_BHW = self._field(data_samples, 'regions')
            normalizers['num_edge'] = count_regions(regions_BHW, valid_BHW, EDGE_BIT)
            normalizers['num_near'] = count_regions(regions_BHW, valid_BHW, NEAR_BIT)
        if self.point_head is not None:
            total = self.point_head.num_points * len(data_samples)
            normalizers['num_points'] = torch.full((), total, dtype=torch.float32, device=valid_BHW.device)
        self._whole_batch = len(data_samples)
        return normalizers

    def _losses(
        self, features: BilateralFeatures, data_samples: Sequence[DataSample], normalizers: dict[str, Tensor]
    ) -> dict[str, Tensor]:
        label_BHW = self._field(data_samples, 'label').long()
        ignored = ignored_label(data_samples[0].label.dtype)
        valid_BHW = label_BHW != ignored
        logits = self.head(features.fused_BCHW)
        auxiliary = {
            stage: self.auxiliary[f'{stage}_head'](feat)
            for stage, feat in zip(_STAGES, features.stages, strict=True)
            if f'{stage}_head' in self.auxiliary
        }
        # Autocast off: exponentials and sums over millions of pixels are made in float32.
        with torch.autocast(logits.device.type, enabled=False):
            losses = {}
            pixels_BHW = self._pixels(logits, label_BHW, ignored)
            losses['loss_main'] = self._mean(pixels_BHW, valid_BHW, normalizers)
            for stage, stage_logits in auxiliary.items():
                stage_pixels_BHW = self._pixels(stage_logits, label_BHW, ignored)
                losses[f'loss_{stage}'] = self.auxiliary_weight * self._mean(stage_pixels_BHW, valid_BHW, normalizers)
            if self.needs_regions:
                regions_BHW = self._field(data_samples, 'regions')
                near = region_sum(pixels_BHW, regions_BHW, NEAR_BIT) / normalizers['num_near']
                edge = region_sum(pixels_BHW, regions_BHW, EDGE_BIT) / normalizers['num_edge']
                losses |= dict(loss_edge=self.edge_loss_factor * edge, loss_distance=self.distance_loss_weight * near)
        if self.point_head is not None:
            losses['loss_point'] = self._point_loss(features.fine_BCHW, logits, label_BHW, normalizers, ignored)
        return losses

    def _pixels(self, logits_BKhw: Tensor, label_BHW: Tensor, ignored: int) -> Tensor:
        return pixel_cross_entropy(logits_BKhw, label_BHW, ignored=ignored, recompute=self.recompute_logits)

    def _mean(self, pixels_BHW: Tensor, valid_BHW: Tensor, normalizers: dict[str, Tensor]) -> Tensor:
        if self.ohem_threshold is None:
            return pixels_BHW.sum() / normalizers['num_valid']
        mean = hard_pixel_mean(pixels_BHW, valid_BHW, self.ohem_threshold, self.ohem_min_share)
        return mean * (valid_BHW.sum() / normalizers['num_valid'])

    def _point_loss(
        self, fine_BChw: Tensor, coarse_BKhw: Tensor, label_BHW: Tensor, normalizers: dict[str, Tensor], ignored: int
    ) -> Tensor:
        assert self.point_head is not None
        points_BN2 = self.point_head.draw_points(coarse_BKhw)
        logits_BKN = self.point_head.point_logits(fine_BChw, coarse_BKhw, points_BN2)
        with torch.autocast(coarse_BKhw.device.type, enabled=False):
            total = F.cross_entropy(
                logits_BKN.float(), labels_at(label_BHW, points_BN2), ignore_index=ignored, reduction='sum'
            )
            return self.point_loss_weight * (total / normalizers['num_points'])

    def _say_inexact(self, data_samples: Sequence[DataSample]) -> None:
        if self._said_inexact or self.ohem_threshold is None or len(data_samples) == (self._whole_batch or 0):
            return
        self._said_inexact = True
        print_log(
            f'BoundarySegmentor: micro-batches of {len(data_samples)} choose their hard pixels each for itself, not '
            f'over the batch of {self._whole_batch}; ohem_threshold=None makes the gradients those of the batch.',
            'current',
            logging.WARNING,
        )

    def _check_classes(self, data_samples: Sequence[DataSample]) -> None:
        """Compare what the data set said, on the host: a label out of range would stop a GPU without a name."""
        declared = {sample.get('num_classes', self.num_classes) for sample in data_samples}
        if declared - {self.num_classes}:
            raise ValueError(
                f'BoundarySegmentor: the data set has {max(declared - {self.num_classes})} classes, the heads have '
                f'{self.num_classes}: set num_classes of head, auxiliary_heads and point_head.'
            )

    def _logits(self, image_B3HW: Tensor) -> Tensor:
        features = self.backbone(image_B3HW)
        logits = self.head(features.fused_BCHW)
        size = tuple(image_B3HW.shape[-2:])
        if self.point_head is not None:
            return self.point_head.refine(features.fine_BCHW, logits, size)
        return F.interpolate(logits, size, mode='bilinear', align_corners=False)

    def _predict(self, image_B3HW: Tensor, data_samples: Sequence[DataSample] | None) -> list[DataSample]:
        probability_BKHW = average_probabilities(self._logits, image_B3HW, **self.eval_options)
        samples = list(data_samples) if data_samples is not None else [DataSample() for _ in image_B3HW]
        for sample, probability_KHW in zip(samples, probability_BKHW, strict=True):
            # Padding of the batch is cut off, then the prediction goes back to the size on disk.
            height, width = sample.get('img_shape', probability_KHW.shape[-2:])
            probability_KHW = probability_KHW[:, :height, :width]
            size = tuple(sample.get('ori_shape', (height, width)))
            if size != (height, width):
                probability_KHW = F.interpolate(probability_KHW[None], size, mode='bilinear', align_corners=False)[0]
            sample.pred_label = probability_KHW.argmax(dim=0).to(getattr(torch, label_type(self.num_classes)))
            if self.keep_probabilities:
                sample.pred_probability = probability_KHW.half()
        return samples

    def _field(self, data_samples: Sequence[DataSample] | None, name: str) -> Tensor:
        if not data_samples or any(name not in sample for sample in data_samples):
            what = 'no data_samples' if not data_samples else 'a sample without it'
            makers = dict(label='LoadSegmentationLabel', regions='LoadBorderDistance and BoundaryRegions')
            raise ValueError(
                f'BoundarySegmentor: the loss needs the field {name!r} of every sample, got {what}. '
                f'{makers[name]} of the pipeline sets it.'
            )
        sizes = {tuple(sample.get(name).shape) for sample in data_samples}
        if len(sizes) > 1:
            raise ValueError(
                f'BoundarySegmentor: {name} comes in sizes {sorted(sizes)} within one batch; the training pipeline '
                'needs RandomScaleCropFlip, which gives all samples one size.'
            )
        return torch.stack([sample.get(name) for sample in data_samples])
