"""A small part of benchmarks/mmcv1_code.py: pip downloads the wheels of three packages of mmcv 1.x."""

import json
import subprocess
import sys

import pytest

from tests.conftest import REPO


@pytest.mark.slow
def test_a_published_package_imports_builds_and_trains_as_mmcv_1_would(tmp_path):
    out = tmp_path / 'report'
    parts = ['--parts', 'import', 'build', 'step', 'train', '--only', 'mmcls', 'resnet18', '--models', '8']
    command = [sys.executable, REPO / 'benchmarks/mmcv1_code.py', *parts, '--out', out]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    imported, built, stepped, trained = json.loads(out.with_suffix('.json').read_text())
    assert imported['imported'] == imported['modules'] == 141
    assert built['built'] == built['models'] == 8
    assert stepped['gradients_bit_equal'] == stepped['models'] == 6
    assert 'parameters_without_gradient' not in stepped
    assert trained['losses_bit_equal'] == '5 of 5'
    assert trained['resumed_bit_equal']
    assert trained['killed_and_resumed_bit_equal']
    assert trained['keys_equal']
    assert float(trained['micro_batch_difference']) < 1e-6
    assert float(trained['two_processes_difference']) < 1e-6
    assert [trained[tool] for tool in ('test', 'estimate_memory', 'benchmark')] == ['runs'] * 3
    assert '| train | resnet18 |' in out.with_suffix('.md').read_text()
