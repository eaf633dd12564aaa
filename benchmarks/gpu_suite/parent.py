"""Run the steps, each in processes of its own with a limit, and keep what they say. Imports neither torch nor mmopt."""

import argparse
import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_suite.plan import STEPS, PlannedStep, choose
from gpu_suite.results import Results

__all__ = ['main']

REPO = Path(__file__).resolve().parents[2]
_ERROR_LINES = 20
_REHEARSAL_SLOWER = 4


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('--out', type=Path, required=True, help='folder of the results')
    parser.add_argument('--minutes', type=float, default=8.0, help='for all steps together; default: 8')
    parser.add_argument('--steps', metavar='A,B', help='these alone: ' + ', '.join(step.name for step in STEPS))
    parser.add_argument('--skip', metavar='A,B', help='not these')
    parser.add_argument('--estimates', type=Path, help='what --prepare wrote')
    parser.add_argument('--wheels', type=Path, help='folder of wheels that the steps import from')
    parser.add_argument('--cpu-rehearsal', action='store_true', help='every step with tiny sizes on a CPU')
    parser.add_argument('--prepare', action='store_true', help='estimate the memory of all points; needs no GPU')
    parser.add_argument('--step', help=argparse.SUPPRESS)  # a process of a step
    parser.add_argument('--part', default='', help=argparse.SUPPRESS)
    parser.add_argument('--scratch', type=Path, help=argparse.SUPPRESS)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None, *, script: Path) -> int:
    """Run what the command line asks for.

    Args:
        script: What a step's process runs.

    Returns:
        0 if every step that was begun ended well.
    """
    args = parse_args(argv)
    if args.step:
        from gpu_suite.child import run_step

        return run_step(args)
    with tempfile.TemporaryDirectory(prefix='gpu-suite-') as scratch:
        environ = environment(Path(scratch), args)
        if args.prepare:
            command = [sys.executable, str(script), '--step', 'prepare', '--out', str(args.out), '--scratch', scratch]
            command += ['--cpu-rehearsal'] if args.cpu_rehearsal else []
            return subprocess.run(command, env=environ, cwd=REPO).returncode
        # Told to end, the suite takes its steps along: they are sessions of their own.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
        suite = Suite(args, script, Path(scratch), environ)
        try:
            return suite.run()
        finally:
            suite.kill_all()


def environment(scratch: Path, args: argparse.Namespace) -> dict[str, str]:
    """Return the variables of every step.

    Args:
        scratch: A temporary folder.
        args: Of the command line.

    Returns:
        This process's, with what makes steps independent of the machine's settings.
    """
    paths = [str(REPO)]
    if args.wheels:
        # A wheel is an archive of what an installation puts into a folder: no pip is needed.
        site = scratch / 'site'
        for wheel in sorted(args.wheels.glob('*.whl')):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(site)
        paths.append(str(site))
    variables = dict(
        OMP_NUM_THREADS='4',
        PYTHONUNBUFFERED='1',
        PYTEST_DISABLE_PLUGIN_AUTOLOAD='1',
        TORCHINDUCTOR_CACHE_DIR=str(scratch / 'inductor'),
        TRITON_CACHE_DIR=str(scratch / 'triton'),
        PYTHONPATH=os.pathsep.join([*paths, *filter(None, [os.environ.get('PYTHONPATH')])]),
    )
    if args.cpu_rehearsal:
        variables |= dict(CUDA_VISIBLE_DEVICES='', OMP_NUM_THREADS=os.environ.get('OMP_NUM_THREADS', '1'))
    return {**os.environ, **variables}


class Suite:
    """One run of the suite.

    Args:
        args: Of the command line.
        script: What a step's process runs.
        scratch: Temporary folder that the steps share.
        environ: Environment variables of the steps.
    """

    def __init__(self, args: argparse.Namespace, script: Path, scratch: Path, environ: Mapping[str, str]) -> None:
        self.args, self.script, self.scratch, self.environ = args, script, scratch, environ
        self.steps = choose(args.steps, args.skip)
        self.end = time.monotonic() + 60 * args.minutes
        self._begun: list[subprocess.Popen] = []
        facts = dict(minutes=args.minutes, rehearsal=args.cpu_rehearsal, python=sys.version.split()[0])
        self.results = Results(args.out, self.steps, facts)
        if args.estimates and args.estimates.resolve() != (args.out / 'estimates.json').resolve():
            shutil.copy(args.estimates, args.out / 'estimates.json')

    def run(self) -> int:
        """Run all steps; print the report."""
        self.results.write()
        background = self._background()
        for step in self.steps:
            left = self.end - time.monotonic()
            if left < (0 if self.args.cpu_rehearsal else step.least_s):
                self.results.step(step.name)['state'] = 'left out'
                self.results.write()
                continue
            if step.name == 'memory' and background is not None:
                # From here on times count: nothing may compute beside them.
                _wait(background, min(left, 30.0))
            # A CPU that is shared with others is no reason to call the rehearsal wrong.
            slower = _REHEARSAL_SLOWER if self.args.cpu_rehearsal else 1
            self._run_step(step, min(slower * step.limit_s, left))
            self.results.write_logs()
        for name in self.results.drop_large_files():
            print(f'{name}: left out, larger than a file may be', file=sys.stderr)
        print(self.results.table_for_terminal())
        return int(any(entry['state'] in ('failed', 'timed out') for entry in self.results.state['steps']))

    def _background(self) -> subprocess.Popen | None:
        """Make the data of the loading step meanwhile."""
        if 'loading' not in {step.name for step in self.steps}:
            return None
        return self._start('make_data', '', says_rows=False)

    def _start(
        self, name: str, part: str, variables: Mapping[str, str] | None = None, *, says_rows: bool = True
    ) -> subprocess.Popen:
        label = _label(name, part)
        self.results.logs[label] = self.scratch / f'{label}.log'
        command = [sys.executable, str(self.script), '--step', name, '--part', part, '--out', str(self.args.out)]
        command += ['--scratch', str(self.scratch), *(['--cpu-rehearsal'] if self.args.cpu_rehearsal else [])]
        if self.args.estimates:
            command += ['--estimates', str(self.args.estimates)]
        with self.results.logs[label].open('wb') as log:
            process = subprocess.Popen(
                command,
                env={**self.environ, **(variables or {})},
                cwd=REPO,
                stdout=subprocess.PIPE if says_rows else log,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        self._begun.append(process)
        return process

    def kill_all(self) -> None:
        """Kill what still runs."""
        for process in self._begun:
            if process.poll() is None:
                _kill(process)

    def _run_step(self, step: PlannedStep, limit_s: float) -> None:
        entry = self.results.step(step.name)
        entry['state'] = 'running'
        self.results.write()
        begun = time.monotonic()
        waiting, running = list(step.parts), {}
        if self.args.cpu_rehearsal:
            waiting = [','.join(step.parts if step.rehearsed is None else step.rehearsed)]
        lines: queue.Queue[str] = queue.Queue()
        errors = []
        readers = []
        while waiting or running:
            while waiting and len(running) < step.at_once:
                part = waiting.pop(0)
                process = self._start(step.name, part, dict(step.variables))
                reader = threading.Thread(target=_read, args=(process, lines), daemon=True)
                reader.start()
                readers.append(reader)
                running[part] = process
            self._take(step.name, lines)
            for part, process in list(running.items()):
                if process.poll() is not None:
                    del running[part]
                    if process.returncode:
                        errors.append(self._error_of(step.name, part, process.returncode))
            if time.monotonic() - begun > limit_s:
                for process in running.values():
                    _kill(process)
                entry['state'] = 'timed out'
                errors.append(f'not done after {limit_s:.0f} s: {", ".join([*running, *waiting])}'.rstrip(': '))
                break
        for reader in readers:
            reader.join(1.0)  # it ends with its process
        self._take(step.name, lines)
        entry['seconds'] = time.monotonic() - begun
        entry['error'] = '\n'.join(errors)
        if entry['state'] == 'running':
            entry['state'] = 'failed' if errors else 'done'
        self.results.write()

    def _take(self, name: str, lines: queue.Queue[str]) -> None:
        """Keep what the processes have printed: rows as JSON; anything else is no row."""
        try:
            line = lines.get(timeout=0.1)
            while True:
                row = _row(line)
                if row is not None:
                    self.results.add(name, row)
                line = lines.get_nowait()
        except queue.Empty:
            return

    def _error_of(self, name: str, part: str, code: int) -> str:
        last = self.results.logs[_label(name, part)].read_text(errors='replace').splitlines()[-_ERROR_LINES:]
        return '\n'.join([f'{part or name}: exit code {code}', *last])


def _label(name: str, part: str) -> str:
    return f'{name}-{part}'.replace(' ', '_').replace(',', '+').strip('-')[:100]


def _read(process: subprocess.Popen, lines: queue.Queue[str]) -> None:
    assert process.stdout is not None
    with process.stdout:
        for line in process.stdout:
            lines.put(line)


def _row(line: str) -> dict[str, Any] | None:
    if not line.startswith('{'):
        return None
    try:
        return json.loads(line)
    except ValueError:
        return None  # a line that was cut off


def _wait(process: subprocess.Popen, limit_s: float) -> None:
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        _kill(process)


def _kill(process: subprocess.Popen) -> None:
    """Kill a process with those that it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return
    process.wait()
