"""Every task model: nothing in a training step waits for the device, seen on the simulated GPU.

The loss guard, the one read of a step, belongs to the engine (:mod:`tests.engine.loops.test_waits`).
"""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import REPO
from tests.models.contract_cases import CASES

OTHERS = ('conv3d', 'mamba', 'BEV with depth', 'segmentation with hard pixels')


@pytest.fixture(scope='module')
def found() -> dict:
    done = subprocess.run(
        [sys.executable, '-m', 'tests.models.waits'],
        cwd=REPO,
        env={**os.environ, 'PYTHONPATH': str(REPO), 'OMP_NUM_THREADS': '1'},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('name', [*CASES, *OTHERS])
def test_no_copy_of_a_training_step_blocks_and_no_value_is_read_back(found, name):
    assert found['waits'][name] == {}


def test_the_watch_sees_each_kind_of_wait(found):
    kinds = {place.split(' at ')[0] for place in found['waits']['Waiting']}
    assert kinds == {
        '_to_copy copies from cpu to simgpu and waits',
        '_to_copy copies from pageable memory',
        '_to_copy reads the device',
        '_local_scalar_dense reads the device',
        'nonzero reads the device',
        'index by a mask reads the device',
    }


def test_what_is_packed_comes_out_as_it_went_in(found):
    assert found['sent']
