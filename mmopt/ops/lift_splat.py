"""Lift-splat: weigh image features by depth probabilities and sum them into the cells of a bird's-eye-view grid.

Paper: Philion and Fidler, "Lift, Splat, Shoot", ECCV 2020, https://arxiv.org/abs/2008.05711
Deviation: the paper builds the (depth x channels) point cloud of every pixel and pools it with sorted cumulative sums.
Here no such product exists. When a camera matrix has no skew, the cell of a point does not depend on its image row, so
the rows of one (depth bin, column) are summed first, as a batched matrix product, and only the roughly 1,200 sums per
image are added into the grid. With skew, one depth bin at a time is added. The sums are the paper's.

Shape letters: B batch, C BEV channels, D depth bins, M depth samples (D times the samples per bin), H W feature map,
Z X grid cells. Frame: camera x right, y down, z forward, in meters; image positions u, v in pixels.
Cells: row 0 is the nearest, column 0 the leftmost.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from mmopt.utils.transfer import send

__all__ = [
    'BevGeometry',
    'SplatPlan',
    'ground_depth_logits',
    'lift_splat',
    'make_plan_without_skew',
    'make_splat_plan',
]

Bound = tuple[float, float, float]

_NOT_GROUND = 0.1


@dataclass(frozen=True)
class BevGeometry:
    """Where pixels, depth bins and grid cells lie; every bound is ``(start, stop, step)`` in meters, ``stop`` excluded.

    With ``exact_reference`` the geometry is the original's, quirks included:

    - pixels at ``linspace(0, size - 1)`` and only ``size // stride`` rows and columns of the feature map;
    - depth bins as points at 1, 2, ... m, which in 0.5 m cells leaves every second grid row empty;
    - cell indices truncated toward zero, so that one more cell's width before each start counts as inside.

    Otherwise pixels lie at the centers of their feature cells, all rows of the feature map count, a bin's probability
    is spread evenly over the grid rows it covers, and indices are floored.

    Attributes:
        image_size: ``(height, width)`` of the network's input, in pixels.
        stride: Input pixels per feature cell.
        x_bound: Grid columns.
        y_bound: The one vertical cell; points above and below it are dropped.
        z_bound: Grid rows.
        depth_bound: Depth bins.
        exact_reference: See above.
    """

    image_size: tuple[int, int] = (600, 800)
    stride: int = 32
    x_bound: Bound = (-25.0, 25.0, 0.5)
    y_bound: Bound = (-10.0, 10.0, 20.0)
    z_bound: Bound = (1.0, 50.0, 0.5)
    depth_bound: Bound = (1.0, 50.0, 1.0)
    exact_reference: bool = False

    def __post_init__(self) -> None:
        for name in ('x_bound', 'y_bound', 'z_bound', 'depth_bound'):
            start, stop, step = getattr(self, name)
            if step <= 0 or stop <= start:
                raise ValueError(
                    f'{name} must be (start, stop, step) with stop > start and step > 0, got {start, stop, step}.'
                )
        if _num_cells(self.y_bound) != 1:
            raise ValueError(
                f'y_bound must be a single cell, because the grid has one layer; got {self.y_bound}, '
                f'which has {_num_cells(self.y_bound)}. Set its step to stop - start.'
            )
        if min(self.feature_size) < 1:
            raise ValueError(f'image_size {self.image_size} is smaller than one feature cell of stride {self.stride}.')

    @property
    def num_depths(self) -> int:
        """Depth bins D."""
        return _num_cells(self.depth_bound)

    @property
    def grid_size(self) -> tuple[int, int]:
        """Grid rows and columns ``(Z, X)``."""
        return _num_cells(self.z_bound), _num_cells(self.x_bound)

    @property
    def feature_size(self) -> tuple[int, int]:
        """Rows and columns of the feature map that enter the grid, counted from its top left corner."""
        if self.exact_reference:
            return self.image_size[0] // self.stride, self.image_size[1] // self.stride
        return -(-self.image_size[0] // self.stride), -(-self.image_size[1] // self.stride)

    @property
    def samples_per_bin(self) -> int:
        """Points along the ray for each depth bin: 1, or as many as grid rows fit into a bin."""
        return 1 if self.exact_reference else max(1, round(self.depth_bound[2] / self.z_bound[2]))

    @cached_property
    def depth_M(self) -> Tensor:
        """Depth of every sample along the ray, in meters."""
        start, _, step = self.depth_bound
        count = self.num_depths * self.samples_per_bin
        if self.exact_reference:
            return start + step * torch.arange(count, dtype=torch.float32)
        return start + step / self.samples_per_bin * (torch.arange(count, dtype=torch.float32) + 0.5)

    @cached_property
    def pixel_v_H(self) -> Tensor:
        """Image row of every feature row, in pixels."""
        return self._pixels(0)

    @cached_property
    def pixel_u_W(self) -> Tensor:
        """Image column of every feature column, in pixels."""
        return self._pixels(1)

    def _pixels(self, axis: int) -> Tensor:
        count = self.feature_size[axis]
        if self.exact_reference:
            return torch.linspace(0, self.image_size[axis] - 1, count, dtype=torch.float32)
        return (torch.arange(count, dtype=torch.float32) + 0.5) * self.stride - 0.5


class SplatPlan(NamedTuple):
    """Where each depth sample goes; made once per batch from the camera matrices alone.

    Attributes:
        cell: Flat index ``(sample * Z + row) * X + column``, or ``B * Z * X`` outside the grid. Shape ``(B, M, W)``
            when the image row does not matter (no skew), else ``(B, M, H, W)``.
        dropped_BMHW: Points above or below the grid's one layer.
        grid_size: ``(Z, X)``.
        samples_per_bin: Samples M / D over which a bin's probability is spread.
        ground_BDH: What is added to the depth scores, see :func:`ground_depth_logits`; None for nothing.
    """

    cell: Tensor
    dropped_BMHW: Tensor
    grid_size: tuple[int, int]
    samples_per_bin: int
    ground_BDH: Tensor | None = None

    def to(self, device: torch.device) -> 'SplatPlan':
        """Copy the plan's tensors to ``device``, together and without waiting."""
        ground = [] if self.ground_BDH is None else [self.ground_BDH]
        cell, dropped_BMHW, *ground = send((self.cell, self.dropped_BMHW, *ground), device)
        return self._replace(cell=cell, dropped_BMHW=dropped_BMHW, ground_BDH=ground[0] if ground else None)


@torch.no_grad()
def make_splat_plan(intrinsics_B33: Tensor, geometry: BevGeometry) -> SplatPlan:
    """Find the grid cell of every point of the frustum, in float32 whatever autocast says.

    Whether a matrix has skew is read on the host: on a GPU, hand the matrices over on the CPU to save a device sync.

    Args:
        intrinsics_B33: Camera matrices of the *resized* image: the resize is already multiplied in.
        geometry: Pixels, bins and cells.

    Returns:
        The plan, on the device of ``intrinsics_B33``.

    Raises:
        ValueError: If a camera matrix cannot be inverted.
    """
    # bfloat16 would put one point in eight into a wrong cell.
    with torch.autocast(intrinsics_B33.device.type, enabled=False):
        inverse, failed = torch.linalg.inv_ex(intrinsics_B33.float())
        host_inverse, host_failed = inverse.cpu(), failed.cpu()
        if host_failed.any():
            raise ValueError(
                f'Camera matrix {int(host_failed.nonzero()[0])} of the batch cannot be inverted: '
                f'{intrinsics_B33[host_failed.nonzero()[0, 0]].tolist()}. Check calib.json.'
            )
        has_skew = bool(host_inverse[:, 0, 1].any() or host_inverse[:, 2, 1].any())
        return _place_points(inverse, geometry, has_skew=has_skew)


def make_plan_without_skew(
    intrinsics_B33: Tensor, geometry: BevGeometry, camera_height_m: float | None = None
) -> SplatPlan:
    """Make the plan of cameras without skew, reading no value on the host: for graphs that leave Python.

    Args:
        intrinsics_B33: Camera matrices of the *resized* image; their skew is taken as 0.
        geometry: Pixels, bins and cells.
        camera_height_m: See :func:`ground_depth_logits`; None leaves it out.

    Returns:
        The plan of :func:`make_splat_plan`, but for points that lie on the very border of two cells.
    """
    intrinsics_B33 = intrinsics_B33.float()
    focal_x_B, focal_y_B = intrinsics_B33[:, 0, 0], intrinsics_B33[:, 1, 1]
    none_B, one_B = torch.zeros_like(focal_x_B), torch.ones_like(focal_x_B)
    rows = (
        (1 / focal_x_B, none_B, -intrinsics_B33[:, 0, 2] / focal_x_B),
        (none_B, 1 / focal_y_B, -intrinsics_B33[:, 1, 2] / focal_y_B),
        (none_B, none_B, one_B),
    )
    inverse_B33 = torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)
    plan = _place_points(inverse_B33, geometry, has_skew=False)
    if camera_height_m is None:
        return plan
    return plan._replace(ground_BDH=ground_depth_logits(intrinsics_B33, geometry, camera_height_m))


def _place_points(inverse_B33: Tensor, geometry: BevGeometry, *, has_skew: bool) -> SplatPlan:
    device = inverse_B33.device
    depth_M, v_H, u_W = (t.to(device) for t in (geometry.depth_M, geometry.pixel_v_H, geometry.pixel_u_W))
    # Products of scalars and not a matmul, which a GPU may compute in TF32.
    ud_MW = depth_M[:, None] * u_W
    vd_MH = depth_M[:, None] * v_H
    matrix = inverse_B33[..., None, None, None]

    def coordinate(axis: int, rows_MH: Tensor) -> Tensor:
        return (
            matrix[:, axis, 0] * ud_MW[:, None]
            + matrix[:, axis, 1] * rows_MH[..., None]
            + (matrix[:, axis, 2] * depth_M[:, None, None])
        )

    no_row = vd_MH.new_zeros(len(depth_M), 1)
    rows = vd_MH if has_skew else no_row
    column, in_x = _cell_index(coordinate(0, rows), geometry.x_bound, geometry.exact_reference)
    row, in_z = _cell_index(coordinate(2, rows), geometry.z_bound, geometry.exact_reference)
    _, in_y = _cell_index(coordinate(1, vd_MH), geometry.y_bound, geometry.exact_reference)

    num_z, num_x = geometry.grid_size
    batch_size = inverse_B33.shape[0]
    sample = torch.arange(batch_size, device=device).view(-1, 1, 1, 1)
    cell = torch.where(in_x & in_z, (sample * num_z + row) * num_x + column, batch_size * num_z * num_x)
    if not has_skew:
        cell = cell.squeeze(2)
    return SplatPlan(cell, ~in_y, geometry.grid_size, geometry.samples_per_bin)


@torch.no_grad()
def ground_depth_logits(intrinsics_B33: Tensor, geometry: BevGeometry, camera_height_m: float) -> Tensor:
    """Return where along their rays the pixels would lie if they showed flat ground.

    A feature row covers ``stride`` image rows, and ground at depth z is at image row ``cy + fy * height / z``: the
    share of the row that sees a depth bin has a closed form. A tenth of it, and what sees no bin (sky, ground beyond
    the bins), is spread evenly over all bins: things stand on the ground, and a share of zero could not be unlearned.

    Args:
        intrinsics_B33: Camera matrices of the *resized* image, without skew; the optical axis is horizontal.
        geometry: Pixels and bins.
        camera_height_m: Height of the camera above the ground, in meters.

    Returns:
        Logarithm of the shares, float32 ``(B, D, H)``.

    Raises:
        ValueError: If the height is not positive.
    """
    if camera_height_m <= 0:
        raise ValueError(f'camera_height_m must be positive, got {camera_height_m!r}.')
    device, half = intrinsics_B33.device, geometry.stride / 2
    start, _, step = geometry.depth_bound
    edge_m_D1 = (start + step * torch.arange(geometry.num_depths + 1, device=device, dtype=torch.float32))[:, None]
    focal_B11, center_B11 = (intrinsics_B33[:, 1, column, None, None].float() for column in (1, 2))
    edge_row_BD1 = center_B11 + focal_B11 * camera_height_m / edge_m_D1
    middle_H = geometry.pixel_v_H.to(device)
    seen_BDH = edge_row_BD1.clamp(middle_H - half, middle_H + half)
    share_BDH = (1 - _NOT_GROUND) * (seen_BDH[:, :-1] - seen_BDH[:, 1:]) / geometry.stride
    return (share_BDH + (1 - share_BDH.sum(dim=1, keepdim=True)) / geometry.num_depths).log()


def lift_splat(depth_BDHW: Tensor, context_BCHW: Tensor, plan: SplatPlan) -> Tensor:
    """Sum ``depth * context`` into the grid cells of a plan, in float32 whatever autocast says.

    Args:
        depth_BDHW: Depth probabilities of every pixel.
        context_BCHW: Features of every pixel.
        plan: From :func:`make_splat_plan`, for the same batch.

    Returns:
        The grid ``(B, C, Z, X)``, float32, channels-last in memory.
    """
    with torch.autocast(depth_BDHW.device.type, enabled=False):
        depth_BMHW = depth_BDHW.float()
        if plan.samples_per_bin > 1:
            depth_BMHW = depth_BMHW.repeat_interleave(plan.samples_per_bin, dim=1) / plan.samples_per_bin
        depth_BMHW = depth_BMHW.masked_fill(plan.dropped_BMHW, 0.0)
        context_BHWC = context_BCHW.float().permute(0, 2, 3, 1)
        batch_size, num_channels = context_BCHW.shape[:2]
        num_z, num_x = plan.grid_size
        # One extra row at the end collects what falls outside the grid; it is cut off below.
        grid = context_BHWC.new_zeros(batch_size * num_z * num_x + 1, num_channels)
        if plan.cell.dim() == 3:
            # (B W) matrices (M, H) @ (H, C): the rows are summed before anything is scattered.
            sums_BWMC = depth_BMHW.permute(0, 3, 1, 2) @ context_BHWC.transpose(1, 2)
            grid = grid.index_add(0, plan.cell.transpose(1, 2).flatten(), sums_BWMC.flatten(0, 2))
        else:
            for m in range(depth_BMHW.shape[1]):
                lifted_BHWC = depth_BMHW[:, m, ..., None] * context_BHWC
                # scatter_add_ and not index_add_, which keeps its source, the outer product, for backward.
                index = plan.cell[:, m].flatten()[:, None].expand(-1, num_channels)
                grid.scatter_add_(0, index, lifted_BHWC.flatten(0, 2))
    return grid[:-1].view(batch_size, num_z, num_x, num_channels).permute(0, 3, 1, 2)


def _num_cells(bound: Bound) -> int:
    start, stop, step = bound
    return round((stop - start) / step)


def _cell_index(position: Tensor, bound: Bound, truncate: bool) -> tuple[Tensor, Tensor]:
    """Return the index along one axis (0 where outside) and whether it is inside."""
    start, _, step = bound
    cells = (position - start) / step
    cells = cells.trunc() if truncate else cells.floor()
    inside = (cells >= 0) & (cells < _num_cells(bound))
    return torch.where(inside, cells, 0.0).long(), inside
