"""The benchmark of the ops, in a process of its own: it puts them where mmcv looks."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_op_is_measured_and_written_down(tmp_path):
    command = [sys.executable, '-W', 'ignore', str(ROOT / 'benchmarks/mmcv_ops.py'), '--repeats', '1']
    environment = os.environ | {'PYTHONPATH': os.pathsep.join(sys.path)}
    subprocess.run([*command, '--out', str(tmp_path / 'ops')], env=environment, check=True, capture_output=True)
    rows = json.loads((tmp_path / 'ops.json').read_text())['ops']
    assert len(rows) > 15
    assert all(row['forward_ms'] > 0 for row in rows)
    assert sum('backward_ms' in row for row in rows) > 10
    assert (tmp_path / 'ops.md').read_text().count('\n| ') == len(rows) + 1
