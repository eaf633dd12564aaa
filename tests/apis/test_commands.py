import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import mmopt
from mmopt.apis.commands import find_tools, main

REPO = Path(__file__).resolve().parents[2]


def test_every_tool_is_a_command_with_one_line_of_help(capsys):
    assert main([]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    scripts = [*REPO.glob('tools/*.py'), *REPO.glob('tools/datasets/*.py')]
    assert {line.split()[0] for line in lines} == {path.stem for path in scripts}
    assert all(len(line.split()) > 3 for line in lines)


def test_a_command_runs_its_script_with_the_arguments(monkeypatch, capsys):
    monkeypatch.setattr(sys, 'argv', ['mmopt'])
    with pytest.raises(SystemExit) as stop:
        main(['publish-model', '--help'])
    assert stop.value.code == 0
    assert capsys.readouterr().out.startswith('usage: publish_model.py')
    # Messages such as the command that goes on with a stopped run name the script.
    assert sys.argv == [str(REPO / 'tools' / 'publish_model.py'), '--help']


def test_a_slip_is_answered_with_the_nearest_tool(capsys):
    assert main(['tarin']) == 2
    assert capsys.readouterr().err == "error: mmopt has no tool 'tarin'. Did you mean train?\n"


@pytest.fixture(scope='module')
def installed(tmp_path_factory) -> Path:
    """A folder that holds what a wheel of this source puts into site-packages."""
    folder = tmp_path_factory.mktemp('wheel')
    source = folder / 'source'
    ignore = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in ('mmopt', 'tools', 'requirements'):
        shutil.copytree(REPO / name, source / name, ignore=ignore)
    for name in ('pyproject.toml', 'setup.py', 'README.md', 'LICENSE'):
        shutil.copy(REPO / name, source / name)
    build = 'from setuptools import build_meta; build_meta.build_wheel("..")'
    subprocess.run([sys.executable, '-c', build], cwd=source, check=True, capture_output=True, timeout=300)
    (wheel,) = folder.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / 'site')
    return folder / 'site'


def test_a_wheel_has_the_version_of_the_source_and_every_tool(installed):
    (metadata,) = installed.glob('mmopt-*.dist-info/METADATA')
    assert f'\nVersion: {mmopt.__version__}\n' in metadata.read_text()
    assert set(find_tools(installed / 'mmopt')) == set(find_tools(REPO / 'mmopt'))
    assert (installed / 'mmopt' / 'py.typed').exists()


def test_the_command_of_a_wheel_runs_its_own_tools(installed, tmp_path):
    config = tmp_path / 'config.py'
    config.write_text('number = 12345\n')
    done = subprocess.run(
        [sys.executable, '-m', 'mmopt.apis.commands', 'print_config', str(config)],
        cwd=tmp_path, env=os.environ | dict(PYTHONPATH=str(installed)), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert 'number = 12345' in done.stdout
