"""Run trials in fresh processes; what is finished is not run again."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import mmopt
from mmopt.apis.bench.settings import Setting, TrialPlan, folder_name

__all__ = ['result_path', 'run_fresh']


def result_path(setting: Setting, plan: TrialPlan, folder: Path, repeat: int = 0) -> Path:
    """Return where the result of a trial lies: the name changes with all that the result depends on."""
    return folder / f'{folder_name(setting)}-{plan.fingerprint(setting)}' / f'{repeat}.json'


def run_fresh(
    setting: Setting, plan: TrialPlan, folder: Path, repeat: int = 0, *, again: bool = False
) -> dict[str, Any]:
    """Run one trial in a new Python process, or read its result if it is there.

    Args:
        plan: How to measure it.
        folder: Results and logs of all trials.
        repeat: Which of several equal trials.
        again: Run it although its result is there.

    Returns:
        What :func:`mmopt.apis.bench.trial.run_trial` measured, with ``reused``; or ``failed`` and ``message``. A trial
        that failed is run again the next time.
    """
    out = result_path(setting, plan, folder, repeat)
    if out.is_file() and not again:
        try:
            result = json.loads(out.read_text(encoding='utf-8'))
        except json.JSONDecodeError:
            result = dict(failed='unreadable')
        if 'failed' not in result:
            return result | dict(reused=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.unlink(missing_ok=True)
    work_dir = out.with_suffix('.work')
    shutil.rmtree(work_dir, ignore_errors=True)
    spec = out.with_suffix('.spec')
    spec.write_text(
        json.dumps(dict(setting=asdict(setting), plan=asdict(plan), work_dir=str(work_dir), out=str(out)), indent=1)
    )
    log = out.with_suffix('.log')
    code = _run([sys.executable, '-m', 'mmopt.apis.bench.trial', str(spec)], log, plan.timeout_s)
    if out.is_file():
        result = json.loads(out.read_text(encoding='utf-8'))
    elif code is None:
        result = dict(failed='timeout', message=f'no result after {plan.timeout_s:.0f} s; {log} shows how far it came.')
    else:
        # Killed: by a signal, mostly by the kernel when host memory ran out.
        result = dict(failed='killed', message=f'the process ended with {code} without a result; see {log}.')
    shutil.rmtree(work_dir, ignore_errors=True)
    return result | dict(reused=False)


def _run(command: list[str], log: Path, timeout_s: float) -> int | None:
    """Run a command in the background of this one; return its exit code, None if it took too long."""
    root = str(Path(mmopt.__file__).resolve().parents[1])  # importable there even where it is not installed
    path = os.pathsep.join(part for part in (root, os.environ.get('PYTHONPATH')) if part)
    with log.open('w', encoding='utf-8') as file:
        process = subprocess.Popen(
            command,
            stdout=file,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=os.environ | {'PYTHONPATH': path},
        )
        try:
            return process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(10)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
