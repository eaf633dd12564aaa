"""A BEV model bound to its cameras: images to logits, for graphs that leave Python."""

from torch import Tensor, nn

from mmopt.ops.lift_splat import SplatPlan

__all__ = ['FixedCameras']


class FixedCameras(nn.Module):
    """Run backbone, neck and head with a plan that was made beforehand.

    Where each pixel's ray meets the grid depends on the camera matrices alone; they are read on the host, which no
    exported graph does. Another camera needs another export.

    Args:
        plan: From the neck's ``plan``, for the batch size of the graph.
    """

    cell: Tensor
    dropped: Tensor
    ground: Tensor | None

    def __init__(self, backbone: nn.Module, neck: nn.Module, head: nn.Module, plan: SplatPlan) -> None:
        super().__init__()
        self.backbone = backbone
        self.neck = neck
        self.head = head
        self.register_buffer('cell', plan.cell, persistent=False)
        self.register_buffer('dropped', plan.dropped_BMHW, persistent=False)
        self.register_buffer('ground', plan.ground_BDH, persistent=False)
        self.grid_size = plan.grid_size
        self.samples_per_bin = plan.samples_per_bin

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the logits (B, P, Z, X) of normalized images."""
        plan = SplatPlan(self.cell, self.dropped, self.grid_size, self.samples_per_bin, self.ground)
        return self.head(self.neck(self.backbone(inputs), plan).bev_BCZX)
