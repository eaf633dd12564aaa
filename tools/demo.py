#!/usr/bin/env python
"""Make a small generated data set and train on it, in one go: the first thing to try.

python tools/demo.py                              # drones; about a minute on 2 CPU cores
python tools/demo.py cityscapes --precision bf16  # another task, with flags of tools/train.py
python tools/demo.py mabe --dry-run               # make the data, and say what would run

The data goes to data/demo/NAME, everything else to work_dirs/. Data that is there is not made again.
"""

import argparse
import importlib.util
import sys
from collections.abc import Callable, Sequence
from typing import Any

from mmopt.apis import run_tool
from mmopt.utils.shipped import find_tools

DEFAULT = 'fred'


def parse_args(argv: Sequence[str]) -> tuple[str, list[str]]:
    """Return the name of the demo and the flags for the training."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        usage='%(prog)s [NAME] [FLAG ...]',
    )
    parser.add_argument('name', nargs='?', default=DEFAULT, help='nuscenes, mabe, cityscapes, fred or driver')
    parser.add_argument('flags', nargs='*', metavar='FLAG', help='flags of tools/train.py, e.g. --overwrite')
    has_name = bool(argv) and not argv[0].startswith('-')
    named, flags = list(argv[:has_name]), list(argv[has_name:])
    return parser.parse_args([*named, *(flag for flag in flags if flag in ('-h', '--help'))]).name, flags


def main_of(tool: str) -> Callable[[Sequence[str]], Any]:
    """Return the ``main`` of another tool; tools are scripts, in no package."""
    path = find_tools()[tool]
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main


def main(argv: Sequence[str] | None = None) -> int | None:
    name, flags = parse_args(sys.argv[1:] if argv is None else argv)
    from mmopt.datasets.demos import find_demo

    config = find_demo(name).config
    main_of('make_demo')([name])
    return main_of('train')([config, *flags])


if __name__ == '__main__':
    run_tool(main, goes_on=True)
