"""Workers that outlive a signal must not outlive their parent, nor keep it waiting."""

import os
import subprocess
import sys

from tests.conftest import REPO

SCRIPT = """
import torch
from mmopt.engine.loading.build import build_dataloader
loader = build_dataloader(
    dict(
        dataset=torch.utils.data.TensorDataset(torch.arange(4.0)),
        sampler=dict(type='DefaultSampler', shuffle=False),
        num_workers=1,
        persistent_workers=True,
    ),
    seed=0,
)
print(len(list(loader)), loader._iterator._workers[0].pid)
"""


def test_a_process_whose_loader_keeps_its_workers_leaves_and_takes_them_along():
    done = subprocess.run(
        [sys.executable, '-c', SCRIPT],
        cwd=REPO,
        env={**os.environ, 'PYTHONPATH': str(REPO)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, '')
    num_batches, worker = map(int, done.stdout.split())
    assert num_batches == 4
    assert not os.path.exists(f'/proc/{worker}')
