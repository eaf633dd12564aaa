"""The example of docs/extending.md, run as its readers run it: outside the repository, by the real tool."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]
RUNS = dict(whole=[], parts=['--options', 'optimize.micro_batch=3'])


@pytest.fixture(scope='module')
def runs(tmp_path_factory) -> dict[str, Path]:
    """Work dirs of the example, trained with whole batches and in parts that do not divide the batch."""
    page = REPO.joinpath('docs', 'extending.md').read_text(encoding='utf-8')
    # Each file of the page begins with a comment that is its name.
    files = dict(re.findall(r'^```python\n# (\S+\.py)\n(.*?)^```$', page, flags=re.MULTILINE | re.DOTALL))
    assert set(files) == {'quadrants.py', 'quadrants_config.py', 'train.py'}
    folder = tmp_path_factory.mktemp('outside')
    for name, text in files.items():
        folder.joinpath(name).write_text(text, encoding='utf-8')
    environment = os.environ | dict(PYTHONPATH=f'{folder}{os.pathsep}{REPO}', OMP_NUM_THREADS='1')
    for name, flags in RUNS.items():
        command = [sys.executable, str(REPO / 'tools' / 'train.py'), 'quadrants_config.py', '--seed', '0', *flags]
        done = subprocess.run(
            [*command, '--work-dir', name], cwd=folder, env=environment, capture_output=True, text=True, timeout=300
        )
        # The exit code is 1 unless the model beats the input-blind baseline by the margin that the config demands.
        assert done.returncode == 0, done.stdout + done.stderr
    return {name: folder / name for name in RUNS}


@pytest.mark.parametrize('name', RUNS)
def test_the_example_of_the_docs_learns_outside_the_repository(runs, name):
    assert json.loads((runs[name] / 'summary.json').read_text())['metrics']['accuracy'] > 0.9


def test_micro_batches_change_nothing_in_the_example_of_the_docs(runs):
    losses = {}
    for name, work_dir in runs.items():
        (log,) = work_dir.glob('*/vis_data/scalars.json')
        lines = map(json.loads, log.read_text().splitlines())
        losses[name] = [line['loss'] for line in lines if 'loss' in line]
    assert len(losses['whole']) > 1
    assert losses['parts'] == pytest.approx(losses['whole'], rel=1e-4)
