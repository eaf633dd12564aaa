#!/usr/bin/env python
"""Write the report of a run as one HTML file that opens offline, or of several runs side by side.

python tools/report.py work_dirs/x                 # work_dirs/x/report.html; a training writes it at its end
python tools/report.py runs/x runs/y --out cmp.html
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('runs', nargs='+', metavar='RUN', help='work dir; the others are compared with the first')
    parser.add_argument('--out', type=Path, metavar='HTML', help='default: report.html, or compare.html, in the first')
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    # After the arguments: importing takes seconds.
    from mmopt.apis.cli.outputs import check_file
    from mmopt.apis.report.page import write_report

    if args.out is not None:
        check_file(args.out, '--out')
    name = 'report.html' if len(args.runs) == 1 else 'compare.html'
    print(f'report: {write_report(args.runs, args.out or Path(args.runs[0]) / name)}')


if __name__ == '__main__':
    run_tool(main)
