"""Command-line flags that all tools share. Imports nothing heavy: ``--help`` answers at once."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from mmopt.apis.cli.outputs import check_folder
from mmopt.utils.errors import UserError
from mmopt.utils.shipped import find_config, launch_command

__all__ = [
    'add_config',
    'add_config_flags',
    'add_weight_flags',
    'answer_foreign_flags',
    'check_launch',
    'config_arguments',
    'config_path',
    'prepare_work_dir',
    'weight_arguments',
]

PRECISIONS = ('auto', 'fp32', 'fp16', 'bf16')
LAUNCHERS = ('none', 'pytorch', 'slurm')


def config_path(text: str) -> str:
    """Read the name of a config, of a file or of one that ships: the type of every argument that is one."""
    return str(find_config(text))


def add_config(parser: argparse.ArgumentParser, **changes: Any) -> None:
    """Add the argument ``config``; keywords change it."""
    given: dict[str, Any] = dict(type=config_path, help='config file, or one that ships: baseline/lss_swin_nuscenes')
    parser.add_argument('config', **(given | changes))


def answer_foreign_flags(parser: argparse.ArgumentParser) -> None:
    """Let a parser answer flags of other code (``--batch-size``, ``--config``) with what stands for them here.

    Args:
        parser: Of a tool; its error about such a flag gets a second sentence.
    """
    parse, fail = parser.parse_known_args, parser.error
    given: list[str] = []

    def parse_known_args(args: Any = None, namespace: Any = None) -> Any:
        given[:] = sys.argv[1:] if args is None else list(args)
        return parse(args, namespace)

    def error(message: str) -> NoReturn:
        flags = [item.partition('=')[0] for item in given if item.startswith('--')]
        unknown = [flag for flag in flags if not any(name.startswith(flag) for name in parser._option_string_actions)]
        remedies = [f'{flag}: {remedy}' for flag in unknown if (remedy := _remedy(flag, given))]
        fail('; '.join([message, *remedies]))

    # Of this parser alone: argparse makes parsers of one class for all.
    vars(parser).update(parse_known_args=parse_known_args, error=error)


def _remedy(flag: str, given: Sequence[str]) -> str:
    """Say what stands for a flag of other code; empty where nobody has it."""
    if flag in ('--config', '--cfg', '--config-file', '--yaml'):
        return f'name the config first, without {flag}'
    from mmopt.config.words.foreign import word_of  # not for --help, which answers at once

    word = word_of(flag.removeprefix('--').replace('-', '_'))
    if word is None:
        return ''
    place = next(place for place, item in enumerate(given) if item.partition('=')[0] == flag)
    value = given[place].partition('=')[2] or next(iter(given[place + 1 : place + 2]), '')
    remedy = word.remedy('VALUE' if value.startswith('-') else value or 'VALUE')
    key = word.ours.partition('=')[0]
    is_option = '=' in word.ours and ' ' not in key and not key.startswith('-')
    return remedy.replace('write ', 'write --options ', 1) if is_option else remedy


def add_config_flags(parser: argparse.ArgumentParser) -> None:
    """Add the config and what changes it: every tool that reads a config takes the same flags."""
    answer_foreign_flags(parser)
    add_config(parser)
    group = parser.add_argument_group('config')
    group.add_argument('--work-dir', metavar='DIR', help='checkpoints and logs; default work_dirs/<config name>')
    group.add_argument(
        '--options',
        '--cfg-options',
        nargs='+',
        action='extend',
        default=[],
        metavar='KEY=VALUE',
        help='replace config values, e.g. runner.max_iters=300 data.samples_per_gpu=8',
    )
    group.add_argument('--preset', metavar='NAME', help='standard, aggressive or extreme: how much to trade for memory')
    group.add_argument('--precision', choices=PRECISIONS, help="replaces the config's; auto: the device's fastest")
    group.add_argument('--seed', type=int, help="replaces the config's seed")
    group.add_argument(
        '--allow-pickle', action='store_true', help='load checkpoints with any Python objects, if you trust them'
    )
    group.add_argument('--deterministic', action='store_true', help='deterministic kernels: slower, repeatable')
    group = parser.add_argument_group('devices')
    group.add_argument('--gpu-ids', nargs='+', type=_gpu_ids, metavar='ID', help='GPU to use; without one: the CPU')
    group.add_argument('--gpus', type=int, metavar='N', help='number of GPUs; several need tools/dist_train.sh')
    group.add_argument('--launcher', choices=LAUNCHERS, default='none', help='what started the processes')
    group.add_argument('--local-rank', '--local_rank', type=int, help=argparse.SUPPRESS)  # given by old launchers


def add_weight_flags(parser: argparse.ArgumentParser) -> None:
    """Add what a tool that loads weights may be told of them."""
    group = parser.add_argument_group('weights')
    group.add_argument(
        '--allow-partial', action='store_true', help='go on where weights do not fit the model; lists what is left out'
    )
    group.add_argument('--strip-prefix', metavar='P', help="take this off the weights' names, e.g. model")


def weight_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags about weights put into a config."""
    given = dict(allow_partial=args.allow_partial or None, strip_prefix=args.strip_prefix)
    return {key: value for key, value in given.items() if value is not None}


def _gpu_ids(text: str) -> list[int]:
    try:
        return [int(part) for part in text.split(',') if part]
    except ValueError as error:
        raise argparse.ArgumentTypeError(f'GPU ids are whole numbers, got {text!r}') from error


def gpu_ids(args: argparse.Namespace) -> list[int] | None:
    """Return the ids of ``--gpu-ids 0 1`` or ``--gpu-ids 0,1``; None if the flag was not given."""
    return None if args.gpu_ids is None else [index for part in args.gpu_ids for index in part]


def check_launch(args: argparse.Namespace) -> None:
    """Refuse several GPUs in one process, and hand ``--local-rank`` to the environment.

    Raises:
        UserError: If ``--gpus`` or ``--gpu-ids`` names several GPUs without a launcher; the text is the command to use.
    """
    if args.local_rank is not None:
        os.environ.setdefault('LOCAL_RANK', str(args.local_rank))
    ids = gpu_ids(args)
    if args.gpus is not None and args.gpus < 1:
        raise UserError(f'--gpus must be at least 1, got {args.gpus}; leave it out to use what there is.')
    count = max(args.gpus or 1, len(ids or ()))
    if args.launcher == 'none' and count > 1:
        chosen = f'CUDA_VISIBLE_DEVICES={",".join(map(str, ids))} ' if ids else ''
        raise UserError(
            f'{count} GPUs need one process each, this is one process: use '
            f'`{chosen}{launch_command(args.config, count)}` with the same flags.'
        )


def prepare_work_dir(args: argparse.Namespace) -> None:
    """Make ``--work-dir`` before anything slow is imported: ``| tee <work-dir>/train.log`` waits for no one."""
    if args.work_dir and Path(args.config).is_file():
        check_folder(args.work_dir, '--work-dir')
        Path(args.work_dir).mkdir(parents=True, exist_ok=True)


def config_arguments(args: argparse.Namespace) -> dict[str, Any]:
    """Return what :func:`mmopt.apis.load_config` takes from the shared flags."""
    return dict(
        path=args.config,
        options=args.options,
        preset=args.preset,
        work_dir=args.work_dir,
        precision=args.precision,
        seed=args.seed,
        deterministic=args.deterministic,
        allow_pickle=args.allow_pickle,
        launcher=args.launcher,
    )
