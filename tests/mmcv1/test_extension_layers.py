"""Public classes and functions of `mmcv.ops` on our extension: each in a fresh process that checks a batch of them."""

import os
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

SCRIPT = Path(__file__).with_name('use_every_op.py')


def run_script(*path: Path) -> list[str]:
    """Run the script with some folders before all others, and return the names of what it used."""
    paths = [*map(str, path), *sys.path]
    done = subprocess.run(
        [sys.executable, '-W', 'ignore', str(SCRIPT)],
        env=os.environ | {'PYTHONPATH': os.pathsep.join(paths)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_every_public_class_trains_on_the_installed_mmcv():
    version, *used = run_script()
    assert version.startswith('2.')
    assert len(used) > 25


@pytest.mark.slow
def test_every_public_class_trains_on_mmcv_2_1(tmp_path):
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', 'mmcv-lite==2.1.0', '-d', str(tmp_path)]
    subprocess.run(command, check=True)
    (wheel,) = tmp_path.glob('*.whl')
    with ZipFile(wheel) as archive:
        archive.extractall(tmp_path / 'unpacked')
    version, *used = run_script(tmp_path / 'unpacked')
    assert version == '2.1.0'
    assert len(used) > 25
