import pytest
import torch

from mmopt.models.bev import LiftSplatNeck

MATRIX = torch.tensor([[[633.0, 0.0, 408.0], [0.0, 844.0, 327.0], [0.0, 0.0, 1.0]]])
CPU = torch.device('cpu')


def test_the_neck_of_the_baseline_has_the_originals_size():
    assert sum(parameter.numel() for parameter in LiftSplatNeck().parameters()) == 86_897


def test_the_better_geometry_takes_every_feature_row():
    assert LiftSplatNeck(exact_reference=True).geometry.feature_size == (18, 25)
    assert LiftSplatNeck().geometry.feature_size == (19, 25)


def test_high_resolution_takes_stride_16():
    neck = LiftSplatNeck(in_channels=8, out_channels=4, use_high_res=True, in_index=0)
    feature = torch.randn(1, 8, 38, 50)
    out = neck([feature, torch.zeros(1, 8, 1, 1)], neck.plan(MATRIX, CPU))
    assert out.bev_BCZX.shape == (1, 4, 98, 100)
    assert out.depth_logits_BDHW.shape == (1, 49, 38, 50)


def test_depth_output_adds_the_summed_probabilities_as_the_last_channel():
    neck = LiftSplatNeck(in_channels=8, out_channels=4, depth_output=True)
    plan = neck.plan(MATRIX, CPU)
    feature = torch.randn(1, 8, 19, 25)
    bev = neck([feature], plan).bev_BCZX
    assert bev.shape == (1, neck.out_channels, 98, 100) == (1, 5, 98, 100)
    # Each ray carries a probability of one; what falls beside the grid is missing.
    assert 300 < bev[:, 4].sum() < 19 * 25
    neck.depth_output = False
    torch.testing.assert_close(neck([feature], plan).bev_BCZX, bev[:, :4])


def test_bfloat16_autocast_is_near_float32_and_trains():
    neck = LiftSplatNeck(in_channels=8, out_channels=4)
    feature, plan = torch.randn(1, 8, 19, 25), neck.plan(MATRIX, CPU)
    plain = neck([feature], plan).bev_BCZX
    with torch.autocast('cpu', dtype=torch.bfloat16):
        bev = neck([feature], plan).bev_BCZX
    assert bev.dtype == torch.float32
    torch.testing.assert_close(bev, plain, rtol=0.05, atol=0.02)
    bev.square().sum().backward()
    assert neck.depthnet.weight.grad.abs().min() > 0


def test_a_feature_map_of_another_size_says_what_to_change():
    neck = LiftSplatNeck(in_channels=8, out_channels=4)
    with pytest.raises(
        ValueError, match=r'the feature map is \(10, 25\), but image_size=\(600, 800\) at stride 32 needs \(19, 25\)'
    ):
        neck([torch.zeros(1, 8, 10, 25)], neck.plan(MATRIX, CPU))


def test_an_untrained_neck_with_a_camera_height_puts_the_street_where_it_is():
    neck = LiftSplatNeck(in_channels=8, out_channels=4, depth_output=True, camera_height_m=1.5)
    torch.nn.init.zeros_(neck.depthnet.weight)
    torch.nn.init.zeros_(neck.depthnet.bias)
    depth = neck([torch.zeros(1, 8, 19, 25)], neck.plan(MATRIX, CPU)).depth_logits_BDHW.softmax(1)[0, :, :, 12]
    # Feature row 12 is around image row 399.5: 844 * 1.5 / (399.5 - 327) = 17.5 m; row 17 around 559.5: 5.4 m.
    assert depth[:, 12].argmax() + 1 in range(15, 21)
    assert depth[:, 17].argmax() + 1 == 5


def test_a_mean_does_not_depend_on_how_many_rays_enter_a_cell():
    torch.manual_seed(0)
    neck = LiftSplatNeck(in_channels=8, out_channels=4, depth_output=True, pool='mean')
    torch.nn.init.zeros_(neck.depthnet.weight)
    bev = neck([torch.randn(1, 8, 19, 25)], neck.plan(MATRIX, CPU)).bev_BCZX[0]
    context_C = neck.depthnet.bias[neck.geometry.num_depths :]
    share_ZX = bev[4]
    assert share_ZX.max() > 10 * share_ZX[share_ZX > 0].median()
    # The context is the same everywhere, so is its mean; the small number only matters where hardly any ray enters.
    full = share_ZX > 0.1
    expected = context_C[:, None] * (share_ZX[full] / (share_ZX[full] + 0.02))
    torch.testing.assert_close(bev[:4, full], expected)


def test_wrong_options_of_the_neck_are_refused():
    with pytest.raises(ValueError, match="pool must be 'sum' or 'mean', got 'max'"):
        LiftSplatNeck(pool='max')
    with pytest.raises(ValueError, match='use_high_res means stride 16, but stride=8'):
        LiftSplatNeck(stride=8, use_high_res=True)
