#!/usr/bin/env python
"""Compare mypy's errors with the table ``tool.mmopt.type-errors`` of pyproject.toml, package by package.

python tools/dev/check_types.py .venv/bin/mypy     # mypy may be elsewhere: it looks at this Python's packages

mypy itself knows clean and ignored modules only: it cannot say that the errors of a package that is not clean yet have
grown. The table holds how many are left; a package that is not in it has to be clean. More errors fail with the errors
listed; fewer ask for a lower number, so that no gain is lost.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

_ERROR = re.compile(r'(?P<file>.+?\.pyi?):\d+: error: ')


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        'mypy', nargs=argparse.REMAINDER, help='the command that runs mypy; what it checks is configured'
    )
    args = parser.parse_args(argv)
    if not args.mypy:
        parser.error('give the command that runs mypy')
    return args


def by_package(lines: Sequence[str]) -> dict[str, list[str]]:
    """Sort mypy's errors by package: ``mmopt/engine/optim/lars.py`` is of ``mmopt.engine``."""
    found = defaultdict(list)
    for line in lines:
        if match := _ERROR.match(line):
            found['.'.join(Path(match['file']).with_suffix('').parts[:2])].append(line)
    return dict(found)


def compare(found: Mapping[str, Sequence[str]], allowed: Mapping[str, int]) -> tuple[list[str], list[str]]:
    """Return what fails and what may be lowered.

    Args:
        found: Package -> its errors.
        allowed: Package -> how many there may be; 0 where it is missing.

    Returns:
        Lines for people, the errors themselves among the first.
    """
    failures, gains = [], []
    for package in sorted({*found, *allowed}):
        errors, limit = found.get(package, ()), allowed.get(package, 0)
        if len(errors) > limit:
            failures += [*errors, f'{package}: {len(errors)} type errors where {limit} are allowed: mend the new ones.']
        elif len(errors) < limit:
            gains.append(
                f'{package}: {len(errors)} type errors where {limit} are allowed: lower {package.split(".")[-1]} '
                'in [tool.mmopt.type-errors] of pyproject.toml.'
            )
    return failures, gains


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    repo = Path(__file__).resolve().parents[2]
    allowed = tomllib.loads((repo / 'pyproject.toml').read_text(encoding='utf-8'))['tool']['mmopt']['type-errors']
    command = [*args.mypy, '--python-executable', sys.executable]
    run = subprocess.run(command, cwd=repo, capture_output=True, text=True)
    if run.returncode not in (0, 1):  # 1: errors in the code; 2: mypy itself could not work
        print(run.stdout + run.stderr, file=sys.stderr)
        return run.returncode
    found = by_package(run.stdout.splitlines())
    failures, gains = compare(found, {f'mmopt.{package}': limit for package, limit in allowed.items()})
    print('\n'.join([*failures, *gains, f'{sum(map(len, found.values()))} type errors are left.']))
    return int(bool(failures))


if __name__ == '__main__':
    sys.exit(main())
