#!/usr/bin/env python
"""Turn a config for MMCV 1.x into a native MMEngine config, or a guide's YAML settings into a config of ours.

python tools/convert_config.py OLD.py --out NEW.py     # readable: sections in order, comments on what changed
python tools/convert_config.py config_v7_5090.yaml --out mine.py   # a child of ours; every key is mapped or named
python tools/convert_config.py --report configs/       # one line per config of a folder: ok, or the reason

mmopt runs both forms with the same numbers; converting is for those who want to leave the old wording behind.
"""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from mmopt.apis import run_tool
from mmopt.apis.cli.flags import add_config


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_config(parser, nargs='?', metavar='OLD.py', help='a config of the MMCV-1.x dialect')
    parser.add_argument('--base', metavar='CONFIG', help='with settings in YAML: inherit from this one')
    parser.add_argument('--out', metavar='NEW.py', help='where to write it (default: print it)')
    parser.add_argument('--report', metavar='DIR', help='lower all configs below DIR and say which cannot be run')
    args = parser.parse_args(argv)
    if (args.config is None) == (args.report is None):
        parser.error('give either OLD.py or --report DIR')
    if args.base and not args.config:
        parser.error('--base belongs to settings in YAML')
    if args.report and args.out:
        parser.error('--out belongs to OLD.py; redirect the report: --report DIR > report.txt')
    return args


def main(argv: Sequence[str] | None = None) -> int:
    args = parse_args(argv)
    from mmopt.apis.cli.outputs import check_file
    from mmopt.apis.convert import convert_config, report_configs
    from mmopt.apis.convert_settings import convert_settings, is_settings
    from mmopt.utils.errors import UserError
    from mmopt.utils.shipped import tool_command

    if args.out is not None:
        check_file(args.out, '--out')
    if args.report is None:
        path = Path(args.config)
        if path.is_file() and is_settings(path):
            text = convert_settings(path, args.base)
        elif args.base:
            raise UserError(f'{path} is a config, not settings in YAML: it has bases of its own; leave --base out.')
        else:
            text = convert_config(path)
        if args.out is None:
            print(text, end='')
        else:
            Path(args.out).parent.mkdir(parents=True, exist_ok=True)
            Path(args.out).write_text(text, encoding='utf-8')
            print(f'wrote {args.out}; look at it: {tool_command("print_config", args.out)}')
        return 0
    kinds: Counter[str] = Counter()
    for verdict in report_configs(args.report):
        print(verdict)
        kinds[verdict.kind] += 1
    print(f'{sum(kinds.values())} configs: ' + ', '.join(f'{count} {kind}' for kind, count in kinds.most_common()))
    return 1 if kinds['bug'] else 0


if __name__ == '__main__':
    run_tool(main)
