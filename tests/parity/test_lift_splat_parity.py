"""The neck, the labels and the pipeline's arithmetic against tensors recorded from the original."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmopt.models.bev import LiftSplatNeck
from mmopt.models.common import ImagePreprocessor
from mmopt.ops.bev_labels import decode_label_bits


@pytest.fixture(scope='module')
def recorded(shared_dir) -> dict:
    return torch.load(shared_dir / 'parity' / 'lift_splat.pt', weights_only=True)


@pytest.fixture
def neck(recorded) -> LiftSplatNeck:
    neck = LiftSplatNeck(exact_reference=True)
    neck.depthnet.load_state_dict(dict(weight=recorded['depthnet_weight'], bias=recorded['depthnet_bias']))
    return neck


def test_the_neck_equals_the_original_forward_and_backward(neck, recorded):
    feature = recorded['feature'].clone().requires_grad_()
    plan = neck.plan(recorded['intrinsics'], feature.device)
    bev = neck([feature], plan).bev_BCZX
    torch.testing.assert_close(bev, recorded['out'], atol=3e-5, rtol=0)
    (bev * recorded['cot']).sum().backward()
    grads = dict(weight=neck.depthnet.weight.grad, bias=neck.depthnet.bias.grad, feature=feature.grad)
    for name, grad in grads.items():
        want = recorded[f'grad_{name}']
        # Gradients of the weight reach 71, and their sums depend on the number of threads.
        torch.testing.assert_close(grad, want, atol=3e-5 * max(1.0, float(want.abs().max()) / 10), rtol=1e-6)


def test_the_same_points_are_kept(neck, recorded):
    plan = neck.plan(recorded['intrinsics'], torch.device('cpu'))
    kept = (plan.cell < 2 * 98 * 100)[:, :, None] & ~plan.dropped_BMHW
    assert torch.equal(kept.sum((1, 2, 3)), recorded['kept_per_sample'])


def test_the_skew_path_gives_the_same_sums(neck, recorded):
    """A skew of 1e-30 moves no point but forces the plan that does not sum rows first."""
    skewed = recorded['intrinsics'].clone()
    skewed[:, 0, 1] = 1e-30
    with torch.no_grad():
        plan = neck.plan(skewed, torch.device('cpu'))
        assert plan.cell.dim() == 4
        torch.testing.assert_close(neck([recorded['feature']], plan).bev_BCZX, recorded['out'], atol=3e-5, rtol=0)


def test_label_maps_equal_the_original(shared_dir):
    bits = cv2.imread(str(shared_dir / 'parity' / 'label.png'), cv2.IMREAD_UNCHANGED)
    maps = decode_label_bits(torch.from_numpy(bits.astype(np.int32)))
    record = np.load(shared_dir / 'parity' / 'pipeline.npz')
    shape = tuple(record['maps_shape'])
    expected = np.unpackbits(record['maps'])[: np.prod(shape)].reshape(shape)[0].astype(bool)
    assert np.array_equal(maps.numpy(), expected)


def test_normalized_image_equals_the_original(shared_dir):
    image = cv2.imread(str(shared_dir / 'parity' / 'image.jpg'))
    image = cv2.cvtColor(cv2.resize(image, (800, 600), interpolation=cv2.INTER_LINEAR), cv2.COLOR_BGR2RGB)
    inputs = torch.from_numpy(image).permute(2, 0, 1)[None]
    actual = ImagePreprocessor()(dict(inputs=inputs))['inputs'][0, :, ::4, ::4]
    record = np.load(shared_dir / 'parity' / 'pipeline.npz')
    np.testing.assert_allclose(actual, record['img_stride4'], atol=1e-6, rtol=1e-6)


def test_the_scaled_matrix_is_the_recorded_one(shared_dir):
    (matrix,) = json.loads((shared_dir / 'parity' / 'calib.json').read_text()).values()
    scaled = np.array(matrix) * np.array([[800 / 1600], [600 / 900], [1.0]])
    np.testing.assert_allclose(scaled, np.load(shared_dir / 'parity' / 'pipeline.npz')['K_scaled'], rtol=1e-6)
