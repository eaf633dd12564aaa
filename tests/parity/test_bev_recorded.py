"""The same parity as ``test_lift_splat_parity``, on the numbers committed beside this file (see ``record_bev``)."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from mmopt.models.common import ImagePreprocessor
from mmopt.ops.bev_labels import decode_label_bits
from mmopt.ops.lift_splat import BevGeometry, lift_splat, make_splat_plan

FILE = Path(__file__).with_name('bev.npz')
GEOMETRY = BevGeometry(exact_reference=True)


@pytest.fixture(scope='module')
def recorded() -> dict[str, np.ndarray]:
    assert FILE.stat().st_size < 100_000
    with np.load(FILE) as archive:
        return dict(archive)


def test_cells_of_the_leftmost_columns_hold_what_the_original_put_there(recorded):
    head = torch.from_numpy(recorded['head'])[None]
    depth, context = torch.zeros(1, 49, 18, 25), torch.zeros(1, 64, 18, 25)
    depth[..., : head.shape[-1]] = head[:, :49].softmax(1)
    context[..., : head.shape[-1]] = head[:, 49:]
    plan = make_splat_plan(torch.from_numpy(recorded['intrinsics'][:1]), GEOMETRY)
    actual = lift_splat(depth, context, plan)[0].flatten(1)[:, torch.from_numpy(recorded['cells'])]
    expected = torch.from_numpy(recorded['out'])
    assert expected.abs().max() > 0.05
    torch.testing.assert_close(actual, expected, atol=3e-5, rtol=0)


def test_the_same_points_are_kept(recorded):
    plan = make_splat_plan(torch.from_numpy(recorded['intrinsics']), GEOMETRY)
    kept = (plan.cell < 2 * 98 * 100)[:, :, None] & ~plan.dropped_BMHW
    assert kept.sum((1, 2, 3)).tolist() == recorded['kept_per_sample'].tolist()


def test_label_maps_equal_the_original(recorded):
    maps = decode_label_bits(torch.from_numpy(recorded['label'].astype(np.int32)))
    assert hashlib.sha256(np.packbits(maps.numpy()).tobytes()).hexdigest() == str(recorded['maps_sha256'])


def test_normalized_pixels_equal_the_original(recorded):
    inputs = torch.from_numpy(recorded['pixels']).T[None, :, None].contiguous()
    normalized = ImagePreprocessor()(dict(inputs=inputs))['inputs'][0, :, 0]
    np.testing.assert_allclose(normalized, recorded['normalised'], atol=1e-6, rtol=1e-6)
