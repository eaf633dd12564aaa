#!/usr/bin/env python
"""Run MMEngine's own tests twice, as they are and with mmopt's classes in the place of those of the same name.

python tools/dev/mmengine_tests.py                        # downloads the tests of the installed version
python tools/dev/mmengine_tests.py --source ~/mmengine    # takes them from a checkout of that version
python tools/dev/mmengine_tests.py test_hooks -k Logger   # some files, some tests

What passes as it is and fails with mmopt's classes is a difference. Each is mended, or listed with its reason in the
table of docs/extending.md, *Deviations from MMEngine*, which this script reads. A difference that is not listed, and a
listed test that passes, fail the script. Nothing of MMEngine is kept: its tests are run in a temporary folder.

Some of the tests need the packages parameterized, lmdb and dill; a file that cannot be collected is named.
"""

import argparse
import importlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

ARCHIVE = 'https://github.com/open-mmlab/mmengine/archive/refs/tags/v{}.tar.gz'
PAGE = Path(__file__).resolve().parents[2] / 'docs' / 'extending.md'
SECTION = '## Deviations from MMEngine'
SWAP = 'MMENGINE_TESTS_SWAP'
DEFAULT_FILES = ('test_runner', 'test_hooks', 'test_optim')
# Where users, and so the tests, import the classes from.
PACKAGES = ('hooks', 'runner', 'optim', 'optim.optimizer', 'testing.runner_test_case')


# ---------------------------------------------------------------- in the process that runs MMEngine's tests
def pytest_configure() -> None:
    """Prepare MMEngine for its tests: pytest calls this, as a plugin, before it imports one."""
    _run_in_one_process()
    if os.environ.get(SWAP) == '1':
        _put_ours_in_place()


def _put_ours_in_place() -> None:
    import mmopt.engine
    import mmopt.registry

    swapped: dict[str, type] = {'Runner': mmopt.engine.IterBasedRunner}
    mmopt.registry.RUNNERS.parent.module_dict['Runner'] = mmopt.engine.IterBasedRunner
    for name in ('HOOKS', 'LOOPS', 'OPTIM_WRAPPERS', 'LOG_PROCESSORS'):
        registry = getattr(mmopt.registry, name)
        root = registry.parent
        for key in set(registry.module_dict) & set(root.module_dict):
            swapped[key] = root.module_dict[key] = registry.module_dict[key]
    for package in PACKAGES:
        module = importlib.import_module(f'mmengine.{package}')
        for key, ours in swapped.items():
            if hasattr(module, key):
                setattr(module, key, ours)


def _run_in_one_process() -> None:
    """Run here what MMEngine runs in spawned processes, which know no plugin; where they die, it skips the test."""
    from mmengine.testing._internal import MultiProcessTestCase
    from torch import distributed

    def run(self: Any, method: Callable) -> None:
        self.rank = 0  # so that the method itself is run below
        try:
            self.run_test(method.__name__, None)
        finally:
            if distributed.is_initialized():
                distributed.destroy_process_group()

    MultiProcessTestCase.world_size = 1
    MultiProcessTestCase._spawn_processes = lambda self: None
    MultiProcessTestCase._join_processes = run
    MultiProcessTestCase.run_test = lambda self, name, parent_pipe: getattr(self, name)()


# ---------------------------------------------------------------- the comparison
def read_deviations(page: str) -> dict[str, str]:
    """Return the tests that may fail, with their reasons.

    Args:
        page: A text with a section *Deviations from MMEngine*, whose table has the reason in its first column and the
            tests, each in backticks, in its last.

    Returns:
        Test -> reason.
    """
    _, found, rest = page.partition(SECTION + '\n')
    if not found:
        raise ValueError(f'{PAGE}: there is no section {SECTION!r}.')
    known = {}
    for line in rest.split('\n## ')[0].splitlines():
        cells = [cell.strip() for cell in line.strip().strip('|').split('|')]
        if line.startswith('|') and len(cells) > 1:
            known |= dict.fromkeys(re.findall(r'`(\S+?::\S+?)`', cells[-1]), cells[0])
    return known


def compare(
    stock: Mapping[str, bool], ours: Mapping[str, bool], known: Mapping[str, str]
) -> tuple[list[str], list[str], list[str]]:
    """Sort the tests that pass as they are.

    Args:
        stock: Test -> whether it passes as it is.
        ours: The same with mmopt's classes; what is missing could not even be collected.
        known: Test -> why it may fail with them.

    Returns:
        Those that fail for a listed reason, those that fail for none, and those that are listed and pass.
    """
    fails = [name for name, passes in stock.items() if passes and not ours.get(name, False)]
    listed = [name for name in fails if name in known]
    new = [name for name in fails if name not in known]
    return listed, new, [name for name in known if ours.get(name, False)]


def read_results(path: Path) -> dict[str, bool]:
    """Read pytest's report: test -> whether it passes; those that were skipped are left out."""
    results = {}
    for case in ElementTree.parse(path).iter('testcase'):
        if case.find('skipped') is None:
            file, _, cls = case.get('classname', '').rpartition('.')
            # unittest's cases have their class in the name: tests.test_hooks.test_hook.TestHook
            name = f'{file.rpartition(".")[2]}.py::{cls}' if cls[:1].isupper() else f'{cls}.py'
            results[f'{name}::{case.get("name")}'] = case.find('failure') is None and case.find('error') is None
    return results


def run_tests(source: Path, files: Iterable[Path], pytest_args: Sequence[str], *, swapped: bool) -> dict[str, bool]:
    """Run test files one by one, each in a process of its own: they leave registries and loggers behind."""
    here = Path(__file__).resolve()
    paths = [str(here.parent), str(here.parents[2]), os.environ.get('PYTHONPATH', '')]
    env = {**os.environ, 'PYTHONPATH': os.pathsep.join(paths)}
    env[SWAP] = str(int(swapped))
    if not swapped:
        env['TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD'] = '1'  # else MMEngine cannot resume on today's torch
    results: dict[str, bool] = {}
    for file in files:
        report = source / 'report.xml'
        report.unlink(missing_ok=True)
        command = [sys.executable, '-m', 'pytest', str(file.relative_to(source)), '-q', f'--junit-xml={report}']
        command += ['-p', 'no:cacheprovider', '-p', here.stem, *pytest_args]
        run = subprocess.run(command, cwd=source, env=env, capture_output=True, text=True)
        if run.returncode not in (0, 1, 5) or not report.exists():  # 1: some failed, 5: none was chosen
            print(f'{file.name} cannot be run {"with mmopt" if swapped else "as it is"}:\n{run.stdout[-1500:]}')
            continue
        results |= read_results(report)
        log = source.parent / f'{"mmopt" if swapped else "stock"}-{file.stem}.log'
        log.write_text(run.stdout + run.stderr, encoding='utf-8')
    return results


def get_source(folder: Path, source: Path | None, version: str) -> Path:
    """Copy MMEngine's tests into a folder, from a checkout or the archive of the version."""
    target = folder / 'mmengine-tests'
    target.mkdir()
    if source is not None:
        if not (source / 'tests').is_dir():
            raise SystemExit(f'--source {source}: there is no folder tests in it.')
        subprocess.run(['cp', '-r', str(source / 'tests'), str(target)], check=True)
        return target
    address = ARCHIVE.format(version)
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            archive = answer.read()
    except (urllib.error.URLError, TimeoutError) as error:
        raise SystemExit(f'{address} cannot be read ({error}); give a checkout of it: --source DIR.') from error
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        tar.extractall(folder, filter='data')
    (folder / f'mmengine-{version}' / 'tests').rename(target / 'tests')
    return target


def parse_args(argv: Sequence[str] | None = None) -> tuple[argparse.Namespace, list[str]]:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('files', nargs='*', help=f'folders or files below tests/ (default: {" ".join(DEFAULT_FILES)})')
    parser.add_argument('--source', type=Path, help='a checkout of MMEngine at the installed version')
    parser.add_argument('--logs', type=Path, help="keep pytest's output of each file in this folder")
    return parser.parse_known_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    import mmengine

    args, pytest_args = parse_args(argv)
    known = read_deviations(PAGE.read_text(encoding='utf-8'))
    with tempfile.TemporaryDirectory() as temporary:
        source = get_source(Path(temporary), args.source, mmengine.__version__)
        files: list[Path] = []
        for name in args.files or DEFAULT_FILES:
            path = source / 'tests' / name
            files += sorted(path.rglob('test_*.py')) if path.is_dir() else [path]
        stock = run_tests(source, files, pytest_args, swapped=False)
        ours = run_tests(source, files, pytest_args, swapped=True)
        if args.logs:
            args.logs.mkdir(parents=True, exist_ok=True)
            for log in source.parent.glob('*.log'):
                (args.logs / log.name).write_text(log.read_text(encoding='utf-8'), encoding='utf-8')
    listed, new, gone = compare(stock, ours, known)
    passing = [name for name, passes in stock.items() if passes]
    if not passing:
        raise SystemExit('No test passes as it is: nothing to compare.')
    print('| file | pass as they are | pass with mmopt |\n|---|---|---|')
    for file in sorted({name.partition('::')[0] for name in passing}):
        of_file = [name for name in passing if name.startswith(f'{file}::')]
        print(f'| {file} | {len(of_file)} | {sum(ours.get(name, False) for name in of_file)} |')
    folder_of = {path.name: path.relative_to(source / 'tests').parts[0] for path in files}
    for folder in (*dict.fromkeys(folder_of[name.partition('::')[0]] for name in passing), 'all'):
        of_folder = [name for name in passing if folder in (folder_of[name.partition('::')[0]], 'all')]
        kept = sum(ours.get(name, False) for name in of_folder)
        print(f'| {folder} | {len(of_folder)} | {kept} ({kept / len(of_folder):.1%}) |')
    print()
    for name in listed:
        print(f'listed: {name}: {known[name]}')
    for name in new:
        print(f'NEW: {name} fails with mmopt and has no reason in {PAGE.name}.')
    for name in gone:
        print(f'GONE: {name} passes with mmopt: take it out of {PAGE.name}.')
    return int(bool(new or gone))


if __name__ == '__main__':
    sys.exit(main())
