import pytest
import torch

from mmopt.models.video import STGCN, SlowOnly, VideoMamba, VideoTransformer
from mmopt.models.video.cudnn import find_broken_conv3d
from mmopt.models.video.stem import sincos_positions
from mmopt.models.video.stgcn import partition_graph
from mmopt.structures.driver_skeleton import DRIVER_EDGES, DRIVER_KEYPOINTS


def count(model) -> int:
    return sum(param.numel() for param in model.parameters())


def test_the_default_conv3d_is_slowonly_resnet50():
    """MMAction2 states 32.45 M parameters with its 400-class head; the names are its own."""
    with torch.device('meta'):
        model = SlowOnly()
    assert count(model) == 31_634_496
    names = dict(model.named_parameters())
    assert names['conv1.conv.weight'].shape == (64, 3, 1, 7, 7)
    assert names['layer3.0.conv1.conv.weight'].shape == (256, 512, 3, 1, 1)
    assert names['layer2.0.conv1.conv.weight'].shape == (128, 256, 1, 1, 1)
    assert 'layer4.0.downsample.bn.weight' in names


@pytest.mark.parametrize('cls', [VideoTransformer, VideoMamba])
def test_the_default_token_models_make_14_by_14_tokens_of_224_pixels(cls):
    model = cls(depth=1)
    with torch.no_grad():
        assert model.stem(torch.zeros(1, 3, 2, 224, 224)).shape[2:] == (2, 14, 14)


@pytest.mark.parametrize('strides', [(8, 2), (4, 4), (2, 2, 4), (2, 2, 2, 2)])
def test_a_stem_of_any_number_of_steps_makes_tokens_of_their_product(strides):
    model = VideoTransformer(channels=16, depth=1, num_heads=2, strides=strides, time_stride=2)
    with torch.no_grad():
        assert model.stem(torch.zeros(1, 3, 4, 32, 48)).shape == (1, 16, 2, 2, 3)
    with pytest.raises(ValueError, match=r'strides must be two steps or more, got \(4,\)'):
        VideoTransformer(strides=(4,))


def test_positions_of_tokens_differ_and_are_bounded():
    positions = sincos_positions((4, 5, 6), 20)
    assert positions.shape == (4, 5, 6, 20)
    flat = positions.flatten(0, 2)
    assert torch.cdist(flat, flat).fill_diagonal_(1).min() > 0.1
    assert flat.abs().max() <= 1
    # Only the time's channels change along time.
    assert (positions[0, ..., 8:] == positions[3, ..., 8:]).all()
    with pytest.raises(ValueError, match='even and at least 6, got 9'):
        sincos_positions((1, 1, 1), 9)


def test_one_direction_of_mamba_is_causal():
    block = VideoMamba(channels=8, depth=1, num_states=4, strides=(2, 2), bidirectional=False).blocks[0].eval()
    tokens = torch.randn(1, 12, 8, requires_grad=True)
    grad = torch.autograd.grad(block(tokens)[0, 5].sum(), tokens)[0][0]
    assert grad[:6].any(dim=1).all()
    assert not grad[6:].any()
    both = VideoMamba(channels=8, depth=1, num_states=4, strides=(2, 2)).blocks[0].eval()
    grad = torch.autograd.grad(both(tokens)[0, 5].sum(), tokens)[0][0]
    assert grad.any(dim=1).all()


def test_the_driver_skeleton_is_a_tree_of_52_points():
    assert len(DRIVER_KEYPOINTS) == len(set(DRIVER_KEYPOINTS)) == 52
    assert len(DRIVER_EDGES) == 51
    assert len({outer for outer, _ in DRIVER_EDGES}) == 51  # all but the neck hang on one other point
    assert DRIVER_KEYPOINTS.index('neck') not in {outer for outer, _ in DRIVER_EDGES}


def test_the_graph_of_three_points_by_hand():
    """1 hangs on 0 and 2 hangs on 0."""
    graph = partition_graph([(1, 0), (2, 0)], 3)
    assert graph[0].tolist() == torch.eye(3).tolist()
    assert graph[1].tolist() == [[0, 0, 0], [1, 0, 0], [1, 0, 0]]
    assert graph[2].tolist() == [[0, 0.5, 0.5], [0, 0, 0], [0, 0, 0]]


def test_wrong_graphs_and_points_are_named():
    with pytest.raises(ValueError, match='edges must join points 0 to 2'):
        partition_graph([(3, 0)], 3)
    with pytest.raises(ValueError, match='num_points=17 needs edges'):
        STGCN(num_points=17)
    with pytest.raises(ValueError, match='kernel_size must be odd'):
        STGCN(kernel_size=4)
    with pytest.raises(ValueError, match='center=51 must be one of the points 0 to 16, or None'):
        STGCN(num_points=17, edges=[(1, 0)])
    with pytest.raises(ValueError, match=r'keypoints are \(17, 3\) .* num_points=52'):
        STGCN(channels=(4,))(torch.zeros(1, 2, 17, 3))
    with pytest.raises(ValueError, match='num_heads=5 must divide channels=384'):
        VideoTransformer(num_heads=5)
    with pytest.raises(ValueError, match='depths .* and inflate .* differ in length'):
        SlowOnly(depths=(1, 1))


@pytest.mark.parametrize(('cudnn', 'words'), [(90800, 'cuDNN 9.8 can compute'), (91499, 'cuDNN 9.14 can compute')])
def test_versions_of_cudnn_with_broken_3d_convolutions_are_named(cudnn, words):
    assert words in find_broken_conv3d(cudnn)


@pytest.mark.parametrize('cudnn', [None, 8902, 90701, 91500, 92000])
def test_sound_versions_say_nothing(cudnn):
    assert find_broken_conv3d(cudnn) is None


def test_a_missing_keypoint_is_where_the_clip_has_it_otherwise():
    model = STGCN(channels=(4,), kernel_size=3).eval()
    points = torch.randn(2, 5, 52, 3)
    points[0, 3, 7] = 0
    points[1, :, 9] = 0  # never seen
    by_hand = points.clone()
    by_hand[0, 3, 7] = points[0, [0, 1, 2, 4], 7].mean(dim=0)
    torch.testing.assert_close(model(points), model(by_hand))
    assert not torch.allclose(model(points), model(torch.where(points == 0, points + 1, points)))


def test_keypoints_are_counted_from_the_neck():
    """Moving the camera, and with it all points that are there, changes nothing; without a center it does."""
    points = torch.randn(2, 5, 52, 3)
    points[1, :, 9] = points[0, 2, 3] = 0
    moved = torch.where(points == 0, points, points + torch.tensor([0.3, -0.2, 1.0]))
    for center, is_same in ((51, True), (None, False)):
        model = STGCN(channels=(4,), kernel_size=3, center=center).eval()
        assert torch.allclose(model(points), model(moved), atol=1e-5) == is_same
    assert STGCN().center == DRIVER_KEYPOINTS.index('neck')
