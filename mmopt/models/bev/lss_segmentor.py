"""Lift-Splat-Shoot for one camera: backbone, lift-splat neck, pyramid head, losses.

Shape letters: B batch, P classes, Z X grid cells, D depth bins, H W feature map.
"""

from collections.abc import Mapping, Sequence

import torch
from mmengine.model import BaseModel
from torch import Tensor, nn

from mmopt.models.bev.complete import complete_bev
from mmopt.models.bev.diffbev_weights import convert_diffbev
from mmopt.models.bev.fixed_cameras import FixedCameras
from mmopt.models.bev.inference import mean_probability
from mmopt.models.bev.losses import (
    balanced_bce_sum,
    depth_bins,
    depth_cross_entropy_sum,
    prior_uncertainty_sum,
)
from mmopt.ops.bev_labels import decode_label_bits, encode_label_bits
from mmopt.registry import MODELS
from mmopt.structures import DataSample, require_samples
from mmopt.structures.complete_graph import CompleteGraph

__all__ = ['LSSSegmentor']


@MODELS.register_module()
class LSSSegmentor(BaseModel):
    """Segment the ground ahead of one camera into overlapping classes.

    Samples carry ``intrinsics`` (camera matrix of the resized image) and, for the loss, ``label_bits`` (int32
    ``(Z, X)``, see :mod:`mmopt.ops.bev_labels`). Predictions are ``pred_bits``, packed alike, every cell counting.

    Args:
        backbone: Config of the image backbone.
        neck: Config of the view transform.
        head: Config of the head.
        data_preprocessor: Config of the preprocessor.
        uncertainty_weight: Weight of the pull to the priors where cells do not count.
        depth_weight: Weight of the depth supervision; above 0, samples must carry ``depth`` (float32 ``(H, W)`` at
            the neck's feature size, in meters, 0 where unknown).
        threshold: Probability above which a class is predicted.
        eval_flip: Average the probabilities of the mirror image as well.

    Raises:
        ValueError: With ``eval_flip`` and a grid that does not reach as far to the left as to the right.
    """

    needs_all_classes = True
    tta_options = dict(eval_flip=True)
    classes_remedy = 'the number of model.head.priors'

    def __init__(
        self,
        backbone: dict,
        neck: dict,
        head: dict,
        data_preprocessor: dict | None = None,
        *,
        uncertainty_weight: float = 0.001,
        depth_weight: float = 0.0,
        threshold: float = 0.5,
        eval_flip: bool = False,
        init_cfg: dict | None = None,
    ) -> None:
        # Built here: MMEngine's base class would look the name up in its own registry unless a scope is set.
        preprocessor = MODELS.build(data_preprocessor or dict(type='ImagePreprocessor'))
        super().__init__(data_preprocessor=preprocessor, init_cfg=init_cfg)
        self.backbone = MODELS.build(backbone)
        self.neck = MODELS.build(neck)
        self.head = MODELS.build(head)
        self.num_classes = len(self.head.priors_P)
        self.uncertainty_weight = uncertainty_weight
        self.depth_weight = depth_weight
        self.threshold = threshold
        self.eval_flip = eval_flip
        left, right, _ = self.neck.geometry.x_bound
        if eval_flip and left != -right:
            raise ValueError(f'LSSSegmentor: eval_flip mirrors the grid, whose x_bound {left, right} is not symmetric.')
        self.keep_probabilities = False
        """Whether predictions hold ``pred_probability`` as well: float16 (P, Z, X)."""

    def convert_weights(self, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Take the names of DiffBEV's checkpoints; see :mod:`mmopt.models.bev.diffbev_weights`."""
        return convert_diffbev(state)

    def forward(
        self,
        inputs: Tensor,
        data_samples: Sequence[DataSample] | None = None,
        mode: str = 'tensor',
        normalizers: dict[str, Tensor] | None = None,
    ) -> dict[str, Tensor] | list[DataSample] | Tensor:
        """Run the network.

        Args:
            inputs: Normalized images ``(B, 3, height, width)``.
            data_samples: One sample per image; every mode needs their ``intrinsics``.
            mode: ``'loss'``, ``'predict'`` or ``'tensor'``.
            normalizers: From :meth:`loss_normalizers` over the whole batch of which ``inputs`` may be a part.

        Returns:
            Losses by name; or the samples with ``pred_bits``; or the logits ``(B, P, Z, X)``.

        Raises:
            ValueError: If the samples are missing or the mode is unknown.
        """
        if mode not in ('loss', 'predict', 'tensor'):
            raise ValueError(f"LSSSegmentor: mode must be 'loss', 'predict' or 'tensor', got {mode!r}.")
        if mode == 'predict':
            return self._predict(inputs, require_samples(data_samples, self, mode))
        logits_BPZX, depth_logits_BDHW = self._logits(inputs, self._field(data_samples, 'intrinsics'))
        if mode == 'tensor':
            return logits_BPZX
        data_samples = require_samples(data_samples, self, mode)
        if normalizers is None:
            normalizers = self.loss_normalizers(data_samples)
        return self._losses(logits_BPZX, depth_logits_BDHW, data_samples, normalizers)

    def for_export(self, data_samples: Sequence[DataSample]) -> nn.Module:
        """Return a module from images to logits for the cameras of these samples alone.

        Args:
            data_samples: One sample per image of the graph's batch.

        Returns:
            A module that shares the weights of this one.
        """
        plan = self.neck.plan(self._field(data_samples, 'intrinsics'), self.head.priors_P.device)
        return FixedCameras(self.backbone, self.neck, self.head, plan)

    def complete_graph(self, data_samples: Sequence[DataSample]) -> CompleteGraph:
        """Return the model from images and cameras to the ground; see :mod:`mmopt.structures.complete_graph`."""
        return complete_bev(self, data_samples)

    def loss_normalizers(self, data_samples: Sequence[DataSample]) -> dict[str, Tensor]:
        """Count what the losses are averaged over: *all* cells (valid or not), and pixels of known depth.

        Args:
            data_samples: The samples of the whole batch.

        Returns:
            ``num_cells`` and, with depth supervision, ``num_depths``: float32 scalars on the samples' device.
        """
        bits = self._field(data_samples, 'label_bits')
        # Filled on the device: a tensor made of a number on the host would be copied there, and waited for.
        num_cells = torch.full((), bits.numel() * self.num_classes, dtype=torch.float32, device=bits.device)
        normalizers = dict(num_cells=num_cells)
        if self.depth_weight:
            bins_BHW = depth_bins(self._field(data_samples, 'depth'), self.neck.geometry.depth_bound)
            normalizers['num_depths'] = (bins_BHW >= 0).sum().clamp(min=1).float()
        return normalizers

    def _logits(self, inputs: Tensor, intrinsics_B33: Tensor) -> tuple[Tensor, Tensor]:
        # Before the backbone: this reads the matrices on the host while the device is still free.
        plan = self.neck.plan(intrinsics_B33, inputs.device)
        lifted = self.neck(self.backbone(inputs), plan)
        return self.head(lifted.bev_BCZX), lifted.depth_logits_BDHW

    def _losses(
        self,
        logits_BPZX: Tensor,
        depth_logits_BDHW: Tensor,
        data_samples: Sequence[DataSample],
        normalizers: dict[str, Tensor],
    ) -> dict[str, Tensor]:
        maps = decode_label_bits(self._field(data_samples, 'label_bits').to(logits_BPZX.device, non_blocking=True))
        labels_BPZX, valid_B1ZX = maps[:, : self.num_classes], maps[:, -1:]
        if labels_BPZX.shape != logits_BPZX.shape:
            raise ValueError(
                f'LSSSegmentor: logits are {tuple(logits_BPZX.shape)} but labels give {tuple(labels_BPZX.shape)} '
                "(batch, classes, rows, columns). The head doubles the neck's grid: check z_bound, x_bound, priors."
            )
        # Autocast off: sums over half a million cells per image are made in float32.
        with torch.autocast(logits_BPZX.device.type, enabled=False):
            logits, num_cells = logits_BPZX.float(), normalizers['num_cells'].to(logits_BPZX.device)
            priors_P = self.head.priors_P
            losses = dict(
                loss_seg=balanced_bce_sum(logits, labels_BPZX, valid_B1ZX, priors_P) / num_cells,
                loss_uncertainty=self.uncertainty_weight
                * (prior_uncertainty_sum(logits, valid_B1ZX, priors_P) / num_cells),
            )
            if self.depth_weight:
                depth_BHW = self._field(data_samples, 'depth').to(logits.device, non_blocking=True)
                bins_BHW = depth_bins(depth_BHW, self.neck.geometry.depth_bound)
                total = depth_cross_entropy_sum(depth_logits_BDHW.float(), bins_BHW)
                losses['loss_depth'] = self.depth_weight * (total / normalizers['num_depths'].to(logits.device))
        return losses

    def _predict(self, inputs: Tensor, data_samples: Sequence[DataSample]) -> list[DataSample]:
        def logits(images: Tensor, intrinsics_B33: Tensor) -> Tensor:
            return self._logits(images, intrinsics_B33)[0]

        intrinsics_B33 = self._field(data_samples, 'intrinsics')
        probability_BPZX = mean_probability(logits, inputs, intrinsics_B33, flip=self.eval_flip)
        bits_BZX = encode_label_bits(probability_BPZX > self.threshold)
        for sample, bits_ZX, probability_PZX in zip(data_samples, bits_BZX, probability_BPZX, strict=True):
            sample.pred_bits = bits_ZX
            if self.keep_probabilities:
                sample.pred_probability = probability_PZX.half()
        return list(data_samples)

    def _field(self, data_samples: Sequence[DataSample] | None, name: str) -> Tensor:
        if data_samples is None or any(name not in sample for sample in data_samples):
            what = 'no data_samples' if data_samples is None else 'a sample without it'
            raise ValueError(
                f'LSSSegmentor: needs the field {name!r} of every sample, got {what}. The pipeline sets it '
                '(PackBEVInputs); intrinsics come from calib.json, label_bits from the label image.'
            )
        return torch.stack([torch.as_tensor(sample.get(name)) for sample in data_samples])
