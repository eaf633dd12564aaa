"""Cut ``bev.npz`` (under 100 kB) out of the recorded tensors, so that parity is checked where they are absent.

python -m tests.parity.record_bev SHARED/parity

Depth scores and context of the six leftmost image columns suffice for the grid cells that no other column reaches; what
the original put into those cells is stored beside them.
"""

import hashlib
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from torch.nn import functional as F

from mmopt.ops.lift_splat import BevGeometry, make_splat_plan

COLUMNS, CELLS, PIXELS = 6, 90, 64
TARGET = Path(__file__).with_name('bev.npz')


def main(source: Path) -> None:
    recorded = torch.load(source / 'lift_splat.pt', weights_only=True)
    head = F.conv2d(
        recorded['feature'][:1, :, :18, :25].double(),
        recorded['depthnet_weight'].double(),
        recorded['depthnet_bias'].double(),
    )
    plan = make_splat_plan(recorded['intrinsics'][:1], BevGeometry(exact_reference=True))
    near, far = plan.cell[..., :COLUMNS].unique(), plan.cell[..., COLUMNS:].unique()
    cells = near[~torch.isin(near, far) & (near < 98 * 100)]
    cells = cells[torch.linspace(0, len(cells) - 1, CELLS).long()]
    label = cv2.imread(str(source / 'label.png'), cv2.IMREAD_UNCHANGED)
    image = cv2.resize(cv2.imread(str(source / 'image.jpg')), (800, 600), interpolation=cv2.INTER_LINEAR)
    record = np.load(source / 'pipeline.npz')
    place = np.linspace(0, 150 * 200 - 1, PIXELS).astype(int)
    np.savez_compressed(
        TARGET,
        intrinsics=recorded['intrinsics'].numpy(),
        kept_per_sample=recorded['kept_per_sample'].numpy(),
        head=head[0, :, :, :COLUMNS].float().numpy(),
        cells=cells.numpy(),
        out=recorded['out'][0].flatten(1)[:, cells].numpy(),
        label=label,
        maps_sha256=hashlib.sha256(record['maps'].tobytes()).hexdigest(),
        pixels=image[::4, ::4, ::-1].reshape(-1, 3)[place],
        normalized=record['img_stride4'].reshape(3, -1)[:, place],
    )
    print(f'{TARGET}: {TARGET.stat().st_size / 1000:.0f} kB')


if __name__ == '__main__':
    main(Path(sys.argv[1]))
