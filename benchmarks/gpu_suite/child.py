"""What a step sees: how large it is to be, where its files go, and how it says what it found."""

import argparse
import importlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gpu_suite.plan import TASKS

__all__ = ['Step', 'run_step']


@dataclass(frozen=True)
class Step:
    """A step in its process.

    Attributes:
        part: Which of its parts; empty for a step without.
        tiny: Whether this is the rehearsal on a CPU.
        out: Folder of the results.
        scratch: Folder that the steps share while the suite runs.
        estimates: File of the memory estimates, or None.
    """

    part: str
    tiny: bool
    out: Path
    scratch: Path
    estimates: Path | None = field(default=None)

    def row(self, **values: Any) -> None:
        """Say what was found: at once, so that it is kept whatever comes after."""
        print(json.dumps(values, default=float), flush=True)

    def claim(self, text: str, measured: Any, holds: bool, claimed: str = '') -> None:
        """Say whether something that is claimed holds."""
        self.row(claim=text, claimed=claimed, measured=measured, holds=bool(holds))

    def config(self, task: str) -> str:
        """Return the config of a task."""
        return TASKS[task].config(tiny=self.tiny)

    def size(self, full: int, tiny: int) -> int:
        """Choose a number."""
        return tiny if self.tiny else full


def run_step(args: argparse.Namespace) -> int:
    """Run a step in this process.

    Args:
        args: Of the command line.

    Returns:
        0; what goes wrong is raised.
    """
    module = importlib.import_module(f'gpu_suite.steps.{args.step}')
    for part in args.part.split(','):
        module.run(Step(part, args.cpu_rehearsal, args.out.resolve(), args.scratch, args.estimates))
    return 0
