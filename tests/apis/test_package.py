"""What is built from this source, and what it does where there is no checkout."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from pathlib import Path

import pytest

import mmopt
from mmopt.utils.shipped import find_config, find_tools
from tests.conftest import REPO

SOURCES = ('mmopt', 'tools', 'requirements', 'configs', 'benchmarks', 'tests')
FILES = ('pyproject.toml', 'setup.py', 'MANIFEST.in', 'README.md', 'LICENSE', 'CHANGELOG.md')


def build(source: Path, kind: str) -> Path:
    """Build an sdist or a wheel of a folder, beside it, and return the file."""
    command = f'from setuptools import build_meta; print(build_meta.build_{kind}(".."))'
    done = subprocess.run(
        [sys.executable, '-c', command], cwd=source, check=True, capture_output=True, text=True, timeout=300
    )
    return source.parent / done.stdout.splitlines()[-1]


@pytest.fixture(scope='module')
def sdist(tmp_path_factory) -> Path:
    source = tmp_path_factory.mktemp('sdist') / 'source'
    ignore = shutil.ignore_patterns('__pycache__', '*.egg-info')
    for name in SOURCES:
        shutil.copytree(REPO / name, source / name, ignore=ignore)
    for name in FILES:
        shutil.copy(REPO / name, source / name)
    return build(source, 'sdist')


@pytest.fixture(scope='module')
def wheel(sdist, tmp_path_factory) -> Path:
    """The wheel, built from the sdist: what that lacks, the wheel lacks."""
    folder = tmp_path_factory.mktemp('wheel')
    with tarfile.open(sdist) as archive:
        archive.extractall(folder, filter='data')
    (source,) = folder.iterdir()
    return build(source, 'wheel')


@pytest.fixture(scope='module')
def site(wheel, tmp_path_factory) -> Path:
    """A folder that holds what the wheel puts into site-packages."""
    folder = tmp_path_factory.mktemp('site')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def run(site: Path, folder: Path, *arguments: str) -> str:
    """Run the command of a wheel from a folder and return what it printed."""
    done = subprocess.run(
        [sys.executable, '-m', 'mmopt', *arguments],
        cwd=folder, env=os.environ | dict(PYTHONPATH=str(site)), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_wheel_has_the_version_of_the_source_and_every_tool(site):
    (metadata,) = site.glob('mmopt-*.dist-info/METADATA')
    assert f'\nVersion: {mmopt.__version__}\n' in metadata.read_text()
    assert set(find_tools(site / 'mmopt')) == set(find_tools(REPO / 'mmopt'))
    assert (site / 'mmopt' / 'py.typed').exists()


def test_a_wheel_has_every_config_and_nothing_of_the_checkout_beside_them(site):
    shipped = site / 'mmopt' / '.mim'
    for name, folder in dict(configs='configs', tables='benchmarks/tables').items():
        ours = {path.relative_to(REPO / folder): path.read_bytes() for path in (REPO / folder).rglob('*.py')}
        assert {path.relative_to(shipped / name): path.read_bytes() for path in (shipped / name).rglob('*.py')} == ours
    assert {path.name for path in site.iterdir()} == {'mmopt', f'mmopt-{mmopt.__version__}.dist-info'}


def test_an_sdist_has_no_tests(sdist):
    with tarfile.open(sdist) as archive:
        folders = {name.split('/')[1] for name in archive.getnames() if name.count('/') > 1}
    assert folders == {'mmopt', 'tools', 'requirements', 'configs', 'benchmarks', 'mmopt.egg-info'}


def test_the_command_of_a_wheel_finds_its_configs_by_name_from_any_folder(site, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / 'mine.py'
    config.write_text("_base_ = 'mmopt::baseline/bisenetv2_cityscapes.py'\ndata = dict(samples_per_gpu=3)\n")
    told = run(site, tmp_path, 'print_config', 'mine.py')
    assert 'BiSeNetV2' in told
    assert 'samples_per_gpu=3' in told.replace(' ', '')
    shipped = site / 'mmopt' / '.mim' / 'configs' / 'baseline' / 'bisenetv2_cityscapes.py'
    for name in ('baseline/bisenetv2_cityscapes', 'configs/baseline/bisenetv2_cityscapes.py'):
        assert find_config(name, site / 'mmopt') == shipped


@pytest.fixture(scope='module')
def empty_environment(wheel, tmp_path_factory) -> Path:
    """The programs of an environment in which the wheel was installed by pip, and nothing else.

    What mmopt depends on is read from the environment of this test: it has the tested versions, without a download.
    """
    folder = tmp_path_factory.mktemp('environment')
    subprocess.run([sys.executable, '-m', 'venv', folder], check=True, timeout=300)
    programs = folder / ('Scripts' if os.name == 'nt' else 'bin')
    install = [programs / 'python', '-m', 'pip', 'install', '--no-deps', '--no-index', '--quiet', wheel]
    subprocess.run(install, check=True, timeout=300)
    (packages,) = folder.glob('lib/*/site-packages')
    # A path in a .pth file: the .pth files beside it, such as that of an editable install, are not read.
    (packages / 'dependencies.pth').write_text(sysconfig.get_path('purelib') + '\n')
    return programs


@pytest.mark.slow
def test_an_installed_package_trains_tests_and_estimates_in_an_empty_environment(empty_environment, tmp_path):
    env = {name: value for name, value in os.environ.items() if name != 'PYTHONPATH'}

    def mmopt_command(*arguments: str) -> str:
        done = subprocess.run(
            [empty_environment / 'mmopt', *arguments],
            cwd=tmp_path, env=env, capture_output=True, text=True, timeout=1800,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    where = 'import mmopt; print(mmopt.__file__)'
    found = subprocess.run(
        [empty_environment / 'python', '-c', where], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60
    )
    assert Path(found.stdout).is_relative_to(empty_environment.parent)
    short = ['--options', 'runner.max_epochs=1', 'expect=None']
    told = mmopt_command('demo', 'fred', *short)
    assert 'next: mmopt train configs/demo/yolov5_fred_rgb.py' in told
    match = re.search(r'mmopt test (\S+) (\S+)', told)
    assert match, told
    assert 'mAP50' in mmopt_command('test', *match.groups())
    dry_run = ['--dry-run', '--preset', 'standard', '--options', 'data.data_root=data/demo/fred']
    assert 'parameters' in mmopt_command('train', 'baseline/yolov5m_fred_rgb_fast', *dry_run)
    assert 'GiB' in mmopt_command('estimate', 'demo/bisenetv2_cityscapes')
