"""The command that goes on with a stopped run: the one that started it, with ``--auto-resume``."""

import shlex
from collections.abc import Mapping, Sequence

__all__ = ['resume_command']

# With a value, dropped: the newest checkpoint is later than any that the run began with.
_REPLACED = ('--resume-from',)
_DROPPED = ('--auto-resume', '--overwrite')


def resume_command(argv: Sequence[str], environment: Mapping[str, str]) -> str:
    """Return the command to go on with.

    Args:
        argv: What the stopped process was called with (``sys.argv``).
        environment: Its environment: launchers leave their number of processes there.

    Returns:
        One line for a shell.
    """
    script, *arguments = argv
    kept: list[str] = []
    skip = False
    for argument in arguments:
        if skip:
            skip = False
        elif argument in _REPLACED:
            skip = True
        elif not argument.startswith(tuple(f'{flag}=' for flag in _REPLACED)) and argument not in _DROPPED:
            kept.append(argument)
    kept.append('--auto-resume')
    if 'TORCHELASTIC_RUN_ID' in environment and 'LOCAL_WORLD_SIZE' in environment:
        return _launched(script, kept, environment)
    # The command mmopt goes by two words; see mmopt.apis.commands.
    called = script.split() if script.startswith('mmopt ') else ['python', script]
    return f'{"srun " if "slurm" in kept else ""}{shlex.join([*called, *kept])}'


def _launched(script: str, kept: Sequence[str], environment: Mapping[str, str]) -> str:
    here, processes = int(environment['LOCAL_WORLD_SIZE']), int(environment.get('WORLD_SIZE', 1))
    num_nodes = processes // here
    if script.startswith('mmopt '):
        nodes = '--standalone' if num_nodes == 1 else f'--nnodes {num_nodes} --node-rank ... --master-addr ...'
        return f'torchrun {nodes} --nproc-per-node {here} -m {script} {shlex.join(kept)}'
    config, flags = _config_first(_without(kept, '--launcher'))
    command = f'bash {script.removesuffix("train.py")}dist_train.sh {shlex.join([config, str(here), *flags])}'
    return command if num_nodes == 1 else f'NNODES={num_nodes} NODE_RANK=... MASTER_ADDR=... {command}'


def _without(arguments: Sequence[str], flag: str) -> list[str]:
    place = next((place for place, item in enumerate(arguments) if item == flag), None)
    return list(arguments) if place is None else [*arguments[:place], *arguments[place + 2 :]]


def _config_first(arguments: Sequence[str]) -> tuple[str, list[str]]:
    config = next(item for item in arguments if not item.startswith('-'))
    return config, [item for item in arguments if item is not config]
