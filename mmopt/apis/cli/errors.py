"""The outermost frame of every tool: what is the user's to mend ends in one line, not in a traceback.

Errors raised on purpose (a ``raise`` in mmopt, MMEngine or mmcv, or the operating system about a file) become one line
and exit code 2, and so does whatever goes wrong in code of the user's that mmopt runs: its file and line are named, and
the traceback is in the log. Ctrl-C before a training becomes 130. A training that a signal stopped has saved and leaves
with 75 and the command that goes on. Anything else is a bug and keeps its traceback, as all do with ``MMOPT_DEBUG=1``.
"""

import dis
import inspect
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable, Collection
from typing import Any, NoReturn, TextIO, cast

from mmopt.apis.cli.pipe import LastingStream
from mmopt.apis.cli.resume_command import resume_command
from mmopt.utils.errors import ConfigWarning, UserError
from mmopt.utils.terminal import nearest, paint
from mmopt.utils.user_code import describe, place_in_user_code, raised_in_worker

__all__ = ['EXIT_INTERRUPTED', 'EXIT_USER_ERROR', 'explain', 'run_tool']

EXIT_USER_ERROR = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells have it

_DELIBERATE = ('mmopt', 'mmengine', 'mmcv')
_UNREGISTERED = re.compile(r'^(?P<name>\S+) is not in the (?P<registry>.+?) registry\.')
_UNEXPECTED = re.compile(r"(?P<call>\w+)(\.__init__)?\(\) got an unexpected keyword argument '(?P<name>\w+)'")


def run_tool(main: Callable[[], int | None], *, goes_on: bool = False) -> NoReturn:
    """Run a tool's ``main`` and leave with its exit code.

    Args:
        main: Returns the exit code, or None for 0.
        goes_on: Whether it goes on when nobody reads its output any more; see :mod:`mmopt.apis.cli.pipe`.
    """
    warnings.formatwarning = _formatted
    farewell = 'Nobody reads the output any more. The work goes on; its files and logs are written as before.'
    streams = sys.stdout, sys.stderr
    sys.stdout = cast(TextIO, LastingStream(sys.stdout, goes_on=goes_on, farewell=farewell if goes_on else ''))
    sys.stderr = cast(TextIO, LastingStream(sys.stderr, goes_on=goes_on))
    try:
        _run(main)
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = streams


def _run(main: Callable[[], int | None]) -> NoReturn:
    try:
        code = main()
    except SystemExit as stop:
        text = getattr(stop, 'text', None)  # of a TrainingStopped, whose module is heavy to import
        if text is None:
            raise
        from mmopt.utils.distributed import rank_to_be  # torch, which the run has loaded by now

        if rank_to_be() == 0:
            sys.stdout.flush()
            command = resume_command(sys.argv, os.environ)
            print(f'\n{paint(text, "yellow", sys.stderr)}\nGo on with: {command}', file=sys.stderr, flush=True)
        _leave_process_group()
        raise
    except KeyboardInterrupt:
        if _debug():
            raise
        sys.stdout.flush()
        print(paint('\nstopped by Ctrl-C.', 'yellow', sys.stderr), file=sys.stderr)
        sys.exit(EXIT_INTERRUPTED)
    except Exception as error:
        text = None if _debug() else explain(error)
        log = _log_traceback(error)
        if text is None:
            raise
        sys.stdout.flush()
        rank = os.environ.get('RANK')
        who = f' [rank {rank}]' if rank not in (None, '0') else ''
        if place_in_user_code(error) is not None and not isinstance(error, UserError):
            text += f' (traceback: {log or "with MMOPT_DEBUG=1"})'
        print(f'{paint("error:", "red", sys.stderr)}{who} {text}', file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)
    _leave_process_group()
    sys.exit(code or 0)


_format_warning = warnings.formatwarning


def _formatted(message: Warning | str, category: type[Warning], *place: Any, **line: Any) -> str:
    """Write what a config says in vain without the line of code that found it; all other warnings as Python does.

    All ranks read the same config: only one of them says it.
    """
    if issubclass(category, ConfigWarning):
        from mmopt.utils.distributed import rank_to_be

        if rank_to_be() != 0:
            return ''
        return f'{paint("warning:", "yellow", sys.stderr)} {message}\n'
    return _format_warning(message, category, *place, **line)


def _leave_process_group() -> None:
    """Say good-bye to the other ranks. Not after an error: then nobody answers."""
    if 'torch' not in sys.modules:
        return
    from mmopt.utils.distributed import leave_process_group

    leave_process_group()


def _log_traceback(error: Exception) -> str | None:
    """Write a traceback to the log files of the run, past the console; return the first of them."""
    paths = []
    if (logs := sys.modules.get('mmengine.logging')) is not None:
        record = logging.LogRecord(
            'mmopt', logging.ERROR, __file__, 0, 'The run ended here:', None, (type(error), error, error.__traceback__)
        )
        for logger in logs.MMLogger._instance_dict.values():
            for handler in logger.handlers:
                if isinstance(handler, logging.FileHandler):
                    handler.handle(record)
                    paths.append(os.path.relpath(handler.baseFilename))
    return paths[0] if paths else None


def explain(error: BaseException) -> str | None:
    """Say in one line what the user can mend.

    Args:
        error: What a tool raised.

    Returns:
        The line; None if the error is a bug, whose traceback is needed.
    """
    if isinstance(error, UserError):
        return str(error)  # as it was written: some list commands on lines of their own
    if (text := _wrong_name(error)) is not None:
        return text  # a config names it, whoever passed it on
    text = _known_kind(error)
    place = None if _is_out_of_memory(error) else place_in_user_code(error)
    if place is None:
        return text
    return f'{place}: {describe(error) if text is None or isinstance(error, TypeError) else text}'


def _message(error: BaseException) -> str:
    raw = str(error.args[0]) if isinstance(error, KeyError) and error.args else str(error)
    return ' '.join(raw.split())


def _wrong_name(error: BaseException) -> str | None:
    """Say which type or argument of a config is meant; None for other errors, and for calls inside the user's code."""
    if raised_in_worker(error) is not None:
        return None
    message = _message(error)
    if isinstance(error, KeyError) and (match := _UNREGISTERED.search(message)):
        return _unregistered(match['name'], match['registry'])
    if isinstance(error, TypeError) and (match := _UNEXPECTED.search(message)):
        return _unexpected(match['call'], match['name'])
    return None


def _known_kind(error: BaseException) -> str | None:
    """Say it for errors of kinds that mmopt knows more about than their message says."""
    if (inside := raised_in_worker(error)) is not None:
        return _from_worker(str(error), inside[1])
    message = _message(error)
    if isinstance(error, OSError) and error.filename is not None:
        return f'{error.filename}: {error.strerror or message}.'
    if _is_out_of_memory(error):
        parts = f'out of memory: {message} Run the batch in parts (--options optimize.micro_batch=auto).'
        return f'{parts} {_cause_beside_memory(message)}'.strip()
    if isinstance(error, RuntimeError) and (cause := _cause_beside_memory(message)):
        return f'{message} There was memory left. {cause}'
    module = (error.name or '') if isinstance(error, ModuleNotFoundError) else ''
    package = module.partition('.')[0]
    if package not in ('', 'mmopt') and package != module and (folder := _folder_of(package)) is not None:
        return (
            f'{message}: {package} is installed in {folder}, and its release lacks this module. Install another '
            f'version of {package}, or put the module there.'
        )
    if package not in ('', 'mmopt'):
        return f'{message}: install it (pip install {package}), or run in the environment that has it.'
    if isinstance(error, SyntaxError):
        return f'{error.filename}:{error.lineno}: {error.msg}: {(error.text or "").strip()}'
    if isinstance(error, TypeError) and (match := _UNEXPECTED.search(message)):
        return f'{match["call"]}() has no argument {match["name"]!r}; MMOPT_DEBUG=1 shows who passed it.'
    if isinstance(error, ValueError | TypeError | KeyError | OSError | ImportError) and _is_deliberate(error):
        return message
    return None


def _folder_of(package: str) -> str | None:
    module = sys.modules.get(package)
    return next(iter(getattr(module, '__path__', ())), None)


def _debug() -> bool:
    return os.environ.get('MMOPT_DEBUG', '0') not in ('', '0')


def _is_deliberate(error: BaseException) -> bool:
    """Tell whether a ``raise`` of ours or MMEngine's made it: what NumPy or ``1 < None`` raise is no message."""
    trace = error.__traceback__
    if trace is None:
        return False
    while trace.tb_next is not None:
        trace = trace.tb_next
    module = trace.tb_frame.f_globals.get('__name__', '')
    instruction = trace.tb_frame.f_code.co_code[trace.tb_lasti]
    return module.split('.')[0] in _DELIBERATE and instruction == dis.opmap['RAISE_VARARGS']


def _from_worker(raw: str, message: str) -> str | None:
    """Return the message of a data loader's worker, if the raising line is ours or MMEngine's."""
    frames = re.findall(r'^  File "(?P<path>.+?)", line \d+.*\n +(?P<line>.*)', raw, flags=re.MULTILINE)
    if not frames:
        return None
    path, line = frames[-1]
    if not set(_DELIBERATE) & set(re.split(r'[\\/]', path)) or not line.startswith('raise'):
        return None
    return ' '.join(message.split())


def _cause_beside_memory(message: str) -> str:
    from mmopt.utils.memory import other_cause  # see below

    return other_cause(message)


def _is_out_of_memory(error: BaseException) -> bool:
    if not isinstance(error, RuntimeError):
        return False
    from mmopt.utils.memory import is_out_of_memory  # needs torch, which raised the error and so is loaded

    return is_out_of_memory(error)


def _known_types() -> dict[str, dict[str, type]]:
    from mmengine.registry import Registry, root

    import mmopt.registry as ours

    nodes = [node for module in (root, ours) for node in vars(module).values() if isinstance(node, Registry)]
    known: dict[str, dict[str, type]] = {}
    for node in nodes:
        known.setdefault(node.name, {}).update(node.module_dict)
    return known


def _unregistered(name: str, registry: str) -> str:
    kind = registry.split('::')[-1]
    known = _known_types()
    # MMEngine spells the registry of optimizer wrappers with spaces and others with underscores.
    types = known.get(kind, {})
    elsewhere = sorted(other for other, members in known.items() if name in members and other != kind)
    hint = _did_you_mean(nearest(name, types), types)
    if elsewhere:
        hint = f'It is a {" and a ".join(elsewhere)}, not a {kind}.'
    return f"type={name!r} is not a known {kind}. {hint} A type of your own needs custom_imports=dict(imports=['...'])."


def _unexpected(call: str, name: str) -> str | None:
    from mmopt.config.words.foreign import word_of  # loaded by now, where a config was read

    registered = [target for members in _known_types().values() for target in members.values()]
    for target in registered:
        # A base that is not registered itself complains about what its registered child handed on.
        for part in inspect.getmro(target) if inspect.isclass(target) else [target]:
            if getattr(part, '__name__', None) == call:
                known = _arguments(part)
                near = nearest(name, known)
                if not near and (word := word_of(name)) is not None:
                    return f'{call} has no argument {name!r}: it is a word of {word.framework}; {word.remedy(True)}.'
                return f'{call} has no argument {name!r}. {_did_you_mean(near, known)}'
    return None


def _arguments(target: Callable) -> list[str]:
    """List what a class takes, through ``**kwargs`` up to its bases."""
    names: dict[str, None] = {}
    for part in inspect.getmro(target) if inspect.isclass(target) else [target]:
        function = part.__dict__.get('__init__') if inspect.isclass(target) else part
        if function is None or part is object:
            continue
        parameters = inspect.signature(function).parameters.values()
        names.update(
            {p.name: None for p in parameters if p.name != 'self' and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
        )
        if not any(p.kind == p.VAR_KEYWORD for p in parameters):
            break
    return list(names)


def _did_you_mean(near: list[str], known: Collection[str]) -> str:
    if near:
        return f'Did you mean {" or ".join(near)}?'
    return (
        f'Known: {", ".join(sorted(known)) or "none"}.'
        if len(known) <= 25
        else f'{len(known)} are known, none is near.'
    )
