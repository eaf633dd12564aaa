import pytest
import torch

from mmopt.ops.lift_splat import (
    BevGeometry,
    ground_depth_logits,
    lift_splat,
    make_plan_without_skew,
    make_splat_plan,
)

BOUNDS = dict(x_bound=(-4.0, 4.0, 1.0), y_bound=(-3.0, 3.0, 6.0), z_bound=(1.0, 9.0, 1.0), depth_bound=(1.0, 9.0, 2.0))
SMALL = dict(image_size=(24, 32), stride=4, **BOUNDS)


def make_rig(skew: float = 0.0) -> dict[str, torch.Tensor]:
    intrinsics = torch.tensor([[20.0, skew, 15.0], [0.0, 22.0, 9.0], [0.0, 0.0, 1.0]]).expand(2, 3, 3).clone()
    intrinsics[1, 0, 2] += 3.3
    return dict(
        intrinsics=intrinsics,
        depth=torch.rand(2, 4, 6, 8).softmax(1).requires_grad_(),
        context=torch.randn(2, 5, 6, 8, requires_grad=True),
    )


def run(rig: dict, geometry: BevGeometry) -> torch.Tensor:
    return lift_splat(rig['depth'], rig['context'], make_splat_plan(rig['intrinsics'], geometry))


def reference(rig: dict, geometry: BevGeometry) -> torch.Tensor:
    """The paper's wording, one point at a time: find the cell, add ``depth * context``."""

    def cell(position: float, bound: tuple[float, float, float]) -> int:
        value = (position - bound[0]) / bound[2]
        index = int(value) if geometry.exact_reference else int(value // 1)
        return index if 0 <= index < round((bound[1] - bound[0]) / bound[2]) else -1

    num_z, num_x = geometry.grid_size
    share = geometry.samples_per_bin
    grid = [[torch.zeros(5) for _ in range(num_x)] for _ in range(2 * num_z)]
    for b, matrix in enumerate(rig['intrinsics']):
        inverse = torch.linalg.inv(matrix)
        for m, z in enumerate(geometry.depth_M):
            for h, v in enumerate(geometry.pixel_v_H):
                for w, u in enumerate(geometry.pixel_u_W):
                    x, y, z_out = (inverse @ torch.stack((u * z, v * z, z))).tolist()
                    column, layer = cell(x, geometry.x_bound), cell(y, geometry.y_bound)
                    row = cell(z_out, geometry.z_bound)
                    if min(row, column, layer) >= 0:
                        point = rig['depth'][b, m // share, h, w] / share * rig['context'][b, :, h, w]
                        grid[b * num_z + row][column] = grid[b * num_z + row][column] + point
    return torch.stack([torch.stack(row) for row in grid]).view(2, num_z, num_x, 5).permute(0, 3, 1, 2)


@pytest.mark.parametrize('skew', [0.0, 1.7])
@pytest.mark.parametrize('exact', [True, False])
def test_sums_and_gradients_equal_the_point_by_point_reference(exact, skew):
    rig, geometry = make_rig(skew), BevGeometry(**SMALL, exact_reference=exact)
    actual, expected = run(rig, geometry), reference(rig, geometry)
    torch.testing.assert_close(actual, expected)
    cotangent = torch.randn_like(actual)
    wanted = torch.autograd.grad((expected * cotangent).sum(), (rig['depth'], rig['context']))
    torch.testing.assert_close(torch.autograd.grad((actual * cotangent).sum(), (rig['depth'], rig['context'])), wanted)


def test_rows_are_summed_first_only_without_skew():
    geometry = BevGeometry(**SMALL)
    assert make_splat_plan(make_rig(0.0)['intrinsics'], geometry).cell.shape == (2, 8, 8)
    assert make_splat_plan(make_rig(0.1)['intrinsics'], geometry).cell.shape == (2, 8, 6, 8)


def test_samples_of_a_batch_do_not_mix():
    rig, geometry = make_rig(), BevGeometry(**SMALL)
    both = run(rig, geometry)
    alone = [run({key: value[b : b + 1] for key, value in rig.items()}, geometry) for b in range(2)]
    torch.testing.assert_close(both, torch.cat(alone))


def test_the_exact_geometry_leaves_every_second_row_empty_and_the_better_one_none():
    matrix = torch.tensor([[[633.0, 0.0, 408.0], [0.0, 844.0, 327.0], [0.0, 0.0, 1.0]]])
    for exact in (True, False):
        geometry = BevGeometry(exact_reference=exact)
        cell = make_splat_plan(matrix, geometry).cell
        rows = torch.unique(cell[cell < 98 * 100] // 100)
        assert rows.tolist() == list(range(0, 98, 2 if exact else 1))


def test_probability_is_conserved_when_a_bin_is_spread_over_its_rows():
    rig, geometry = make_rig(), BevGeometry(**{**SMALL, 'x_bound': (-99.0, 99.0, 1.0), 'y_bound': (-99.0, 99.0, 198.0)})
    rig['context'] = torch.ones(2, 1, 6, 8)
    torch.testing.assert_close(run(rig, geometry).sum((1, 2, 3)), torch.full((2,), 48.0))


def test_truncation_lets_in_one_more_cell_before_each_start():
    # A camera whose principal point is far right, so that every x is negative: -4.5 m truncates to cell 0 of [-4, 4).
    matrix = torch.tensor([[[10.0, 0.0, 45.0], [0.0, 10.0, 0.0], [0.0, 0.0, 1.0]]])
    bounds = dict(image_size=(4, 4), stride=4, **{**BOUNDS, 'depth_bound': (1.0, 2.0, 1.0)})
    exact = make_splat_plan(matrix, BevGeometry(**bounds, exact_reference=True))
    better = make_splat_plan(matrix, BevGeometry(**bounds))
    assert exact.cell.flatten().tolist() == [0]
    assert better.cell.flatten().tolist() == [64]


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_sums_in_float32_under_autocast_and_from_half_inputs(dtype):
    rig, geometry = make_rig(), BevGeometry(**SMALL)
    plain = run(rig, geometry)
    with torch.autocast('cpu', dtype=dtype):
        assert torch.equal(run(rig, geometry), plain)
        plan = make_splat_plan(rig['intrinsics'].to(dtype).float(), geometry)
        grid = lift_splat(rig['depth'].to(dtype), rig['context'].to(dtype), plan)
    assert grid.dtype == torch.float32
    torch.testing.assert_close(grid, plain, rtol=0.05, atol=0.05)


@pytest.mark.parametrize('skew', [0.0, 1.7])
def test_keeps_less_for_backward_than_the_outer_product(skew):
    geometry = BevGeometry(exact_reference=True)
    matrix = torch.tensor([[[633.0, skew, 408.0], [0.0, 844.0, 327.0], [0.0, 0.0, 1.0]]])
    depth = torch.rand(1, 49, 18, 25, requires_grad=True)
    context = torch.rand(1, 64, 18, 25, requires_grad=True)
    plan = make_splat_plan(matrix, geometry)
    saved: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        lift_splat(depth, context, plan)
    outer_product_bytes = 4 * 64 * depth.numel()
    assert sum(saved.values()) < outer_product_bytes / 10


def test_names_the_camera_matrix_that_cannot_be_inverted():
    matrices = torch.eye(3).repeat(2, 1, 1)
    matrices[1] = 0.0
    with pytest.raises(ValueError, match=r'Camera matrix 1 of the batch cannot be inverted: \[\[0.0'):
        make_splat_plan(matrices, BevGeometry())


def test_rejects_more_than_one_layer_and_empty_bounds():
    with pytest.raises(ValueError, match=r'y_bound must be a single cell.*which has 4'):
        BevGeometry(y_bound=(-10.0, 10.0, 5.0))
    with pytest.raises(ValueError, match=r'x_bound must be \(start, stop, step\) with stop > start'):
        BevGeometry(x_bound=(5.0, -5.0, 0.5))
    with pytest.raises(ValueError, match='smaller than one feature cell of stride 32'):
        BevGeometry(image_size=(16, 64), exact_reference=True)


def test_ground_depths_are_those_of_rays_that_meet_flat_ground():
    geometry = BevGeometry(image_size=(64, 32), stride=8, depth_bound=(1.0, 9.0, 2.0), z_bound=(1.0, 9.0, 1.0))
    matrix = torch.tensor([[[50.0, 0.0, 16.0], [0.0, 60.0, 20.0], [0.0, 0.0, 1.0]]])
    share_DH = ground_depth_logits(matrix, geometry, 1.5)[0].exp()
    for h in range(8):
        v = torch.arange(1000) * 8e-3 + 8 * h - 0.5  # the image rows that the feature row covers
        depth = 60 * 1.5 / (v - 20)
        in_bin = torch.stack([((depth >= low) & (depth < low + 2)).double().mean() for low in (1, 3, 5, 7)])
        expected = 0.9 * in_bin + (1 - 0.9 * in_bin.sum()) / 4
        torch.testing.assert_close(share_DH[:, h].double(), expected, atol=2e-3, rtol=0)
    # By hand: row 20 is the horizon, above it any depth is as good; the last row, 55.5 to 63.5, sees 2.1 to 2.5 m.
    torch.testing.assert_close(share_DH[:, 0], torch.full((4,), 0.25))
    torch.testing.assert_close(share_DH[:, 7], torch.tensor([0.925, 0.025, 0.025, 0.025]))


def test_ground_depths_need_a_camera_above_the_ground():
    with pytest.raises(ValueError, match='camera_height_m must be positive, got 0'):
        ground_depth_logits(torch.eye(3)[None], BevGeometry(**SMALL), 0)


@pytest.mark.parametrize('exact', [True, False])
def test_the_plan_that_reads_nothing_on_the_host_is_the_same_without_skew(exact):
    geometry = BevGeometry(**SMALL, exact_reference=exact)
    intrinsics = make_rig()['intrinsics'] + torch.tensor([[0.1, 0, 0.123], [0, 0, 0.321], [0, 0, 0]])
    plan, other = make_splat_plan(intrinsics, geometry), make_plan_without_skew(intrinsics, geometry, 1.5)
    assert torch.equal(plan.cell, other.cell)
    assert torch.equal(plan.dropped_BMHW, other.dropped_BMHW)
    assert torch.equal(other.ground_BDH, ground_depth_logits(intrinsics, geometry, 1.5))
    assert make_plan_without_skew(intrinsics, geometry).ground_BDH is None
