"""The tests that need a GPU, by name, each as it ends; in the rehearsal a few that need none."""

import json
import os
from typing import Any

import pytest

from gpu_suite.child import Step

_FOLDERS = ('tests/engine', 'tests/ops')


class _Rows:
    """Says each test's result. pytest takes the standard output for itself, so rows go where it led before."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.bad: list[str] = []

    def say(self, **values: Any) -> None:
        os.write(self.rows, (json.dumps(values) + '\n').encode())

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Be told of the phase of a test."""
        if report.when != 'call' and report.passed:
            return
        name, said = report.nodeid.rpartition('::')[2], '' if report.passed else str(report.longrepr)[-200:]
        self.say(test=name, state=report.outcome, seconds=report.duration, said=said)
        self.bad += [name] if report.failed else []


def run(step: Step) -> None:
    """Run them."""
    chosen = ['tests/engine/loading/test_prefetch.py'] if step.tiny else ['-m', 'gpu', *_FOLDERS]
    rows = _Rows(os.dup(1))
    os.dup2(2, 1)
    # Warnings of this machine's packages are no failures of ours.
    options = ['-q', '-o', 'filterwarnings=default', '-p', 'no:cacheprovider', f'--junitxml={step.out / "pytest.xml"}']
    code = pytest.ExitCode(pytest.main([*chosen, *options], plugins=[rows]))
    holds = code == pytest.ExitCode.OK
    measured = rows.bad or ('all passed' if holds else code.name)
    rows.say(claim='every GPU test passes', claimed='', measured=measured, holds=holds)
