"""Neck of Lift-Splat-Shoot: camera features to a bird's-eye-view grid.

Paper: Philion and Fidler, "Lift, Splat, Shoot", ECCV 2020, https://arxiv.org/abs/2008.05711
Deviations: one camera and no extrinsics, so the grid lies in the camera's frame (x right, z forward); see
:mod:`mmopt.ops.lift_splat` for how the sums are made. Two options that the paper does not have: depth scores that begin
at flat ground, and cells that average instead of sum.

Shape letters: B batch, I input channels, C BEV channels, D depth bins, H W feature map, Z X grid cells.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmopt.ops.lift_splat import BevGeometry, SplatPlan, ground_depth_logits, lift_splat, make_splat_plan
from mmopt.registry import MODELS

__all__ = ['LiftSplatNeck', 'LiftSplatOutput']

# Added to the probability that a mean is divided by: a cell that hardly any ray enters stays near zero.
_EMPTY = 0.02


class LiftSplatOutput(NamedTuple):
    """What the neck returns.

    Attributes:
        bev_BCZX: The grid; its last channel is the depth probability summed per cell where ``depth_output`` is on.
        depth_logits_BDHW: Depth scores before the softmax.
    """

    bev_BCZX: Tensor
    depth_logits_BDHW: Tensor


@MODELS.register_module()
class LiftSplatNeck(BaseModule):
    """Predict depth and context by a 1x1 convolution, lift every pixel along its ray and sum it into the grid.

    Args:
        in_channels: Channels I of the feature map.
        out_channels: Channels C of the context.
        image_size: Network input ``(height, width)``, in pixels.
        x_bound: ``(start, stop, step)`` of the grid's columns, in meters.
        y_bound: The same for the one vertical cell.
        z_bound: The same for the grid's rows.
        depth_bound: The same for the depth bins.
        exact_reference: Reproduce the original's geometry, quirks included; see
            :class:`mmopt.ops.lift_splat.BevGeometry`.
        use_high_res: Take features of stride 16 instead of 32: the backbone must return that stage.
        stride: Image pixels per feature cell, where it is neither 32 nor, with ``use_high_res``, 16.
        in_index: Which of the backbone's outputs to take.
        depth_output: Splat the depth probabilities too, as one more channel behind the context.
        camera_height_m: Height of the camera above the ground. The depth scores are then corrections of flat ground
            (:func:`mmopt.ops.lift_splat.ground_depth_logits`), so an untrained neck already puts the street where it
            is, and a short training need not find the geometry first.
        pool: ``'sum'`` (the paper's): a cell far away, which few pixels see, gets small numbers. ``'mean'``: a cell's
            sum is divided by the depth probability that fell into it.

    Raises:
        ValueError: If ``pool`` is neither ``'sum'`` nor ``'mean'``, or both ``stride`` and ``use_high_res`` are given.
    """

    def __init__(
        self,
        in_channels: int = 768,
        out_channels: int = 64,
        *,
        image_size: tuple[int, int] = (600, 800),
        x_bound: tuple[float, float, float] = (-25.0, 25.0, 0.5),
        y_bound: tuple[float, float, float] = (-10.0, 10.0, 20.0),
        z_bound: tuple[float, float, float] = (1.0, 50.0, 0.5),
        depth_bound: tuple[float, float, float] = (1.0, 50.0, 1.0),
        exact_reference: bool = False,
        use_high_res: bool = False,
        stride: int | None = None,
        in_index: int = -1,
        depth_output: bool = False,
        camera_height_m: float | None = None,
        pool: str = 'sum',
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg=init_cfg)
        if pool not in ('sum', 'mean'):
            raise ValueError(f"LiftSplatNeck: pool must be 'sum' or 'mean', got {pool!r}.")
        if stride is not None and use_high_res:
            raise ValueError(f'LiftSplatNeck: use_high_res means stride 16, but stride={stride}: give one of them.')
        sizes = dict(image_size=image_size, x_bound=x_bound, y_bound=y_bound, z_bound=z_bound, depth_bound=depth_bound)
        # A config gives lists; geometries are compared and hashed.
        bounds: dict[str, Any] = {name: tuple(size) for name, size in sizes.items()}
        self.geometry = BevGeometry(
            **bounds, stride=stride or (16 if use_high_res else 32), exact_reference=exact_reference
        )
        self.in_index = in_index
        self.depth_output = depth_output
        self.camera_height_m = camera_height_m
        self.pool = pool
        self.out_channels = out_channels + depth_output
        self.depthnet = nn.Conv2d(in_channels, self.geometry.num_depths + out_channels, kernel_size=1)

    def plan(self, intrinsics_B33: Tensor, device: torch.device) -> SplatPlan:
        """Find the grid cells for a batch; call it before the backbone, so that no device has to wait for the host.

        Args:
            intrinsics_B33: Camera matrices of the *resized* image, best on the CPU.
            device: Where the neck runs.

        Returns:
            The plan that :meth:`forward` takes.
        """
        plan = make_splat_plan(intrinsics_B33, self.geometry)
        if self.camera_height_m is not None:
            plan = plan._replace(ground_BDH=ground_depth_logits(intrinsics_B33, self.geometry, self.camera_height_m))
        return plan.to(device)

    def forward(self, features: Sequence[Tensor], plan: SplatPlan) -> LiftSplatOutput:
        """Map the features of one stage into the grid.

        Args:
            features: Outputs of the backbone, each ``(B, I, H, W)``.
            plan: From :meth:`plan`.

        Returns:
            The grid (float32) and the depth scores.

        Raises:
            ValueError: If the feature map is smaller than the geometry's.
        """
        feature_BIHW = features[self.in_index]
        height, width = self.geometry.feature_size
        if feature_BIHW.shape[-2] < height or feature_BIHW.shape[-1] < width:
            raise ValueError(
                f'LiftSplatNeck: the feature map is {tuple(feature_BIHW.shape[-2:])}, but image_size='
                f'{self.geometry.image_size} at stride {self.geometry.stride} needs {height, width}. Resize the images '
                'to image_size in the pipeline, or choose the backbone stage (in_index, out_indices) of this stride.'
            )
        num_depths, num_channels = self.geometry.num_depths, self.out_channels - self.depth_output
        head = self.depthnet(feature_BIHW[..., :height, :width])
        depth_logits_BDHW, context_BCHW = head[:, :num_depths], head[:, num_depths:]
        # float32: 49 probabilities of bfloat16 no longer sum to one.
        depth_logits_BDHW = depth_logits_BDHW.float()
        if plan.ground_BDH is not None:
            depth_logits_BDHW = depth_logits_BDHW + plan.ground_BDH[..., None]
        if self.depth_output or self.pool == 'mean':
            # A context of one sums the bare probabilities.
            context_BCHW = torch.cat((context_BCHW, torch.ones_like(context_BCHW[:, :1])), dim=1)
        grid_BCZX = lift_splat(depth_logits_BDHW.softmax(dim=1), context_BCHW, plan)
        if self.pool == 'mean':
            mean_BCZX = grid_BCZX[:, :num_channels] / (grid_BCZX[:, num_channels:] + _EMPTY)
            grid_BCZX = torch.cat((mean_BCZX, grid_BCZX[:, num_channels:]), dim=1) if self.depth_output else mean_BCZX
        return LiftSplatOutput(grid_BCZX, depth_logits_BDHW)
