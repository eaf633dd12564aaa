"""A work dir's checkpoints: which is the newest whole one, and names that switch in one step."""

import os
import re
import shutil
from pathlib import Path

from mmengine.logging import print_log

from mmopt.engine.checkpoint_io.verify import CorruptCheckpointError, verify
from mmopt.engine.checkpoint_io.write import TEMPORARY, CheckpointWriteError, replace_file
from mmopt.utils.platform import sync_folder
from mmopt.utils.terminal import nearest

__all__ = ['describe_missing', 'find_latest', 'read_pointer', 'remove_leftovers', 'switch_link', 'write_pointer']

POINTER = 'last_checkpoint'
_NUMBERED = re.compile(r'(iter|epoch)_(\d+)\.pth')
_SUFFIXES = ('.pth', '.pt', '.safetensors')


def write_pointer(work_dir: Path, name: str) -> None:
    """Make ``last_checkpoint`` name a checkpoint of the folder, in one step.

    Args:
        name: File name of the checkpoint, or its absolute path if it lies elsewhere.

    Raises:
        CheckpointWriteError: If the folder cannot be written.
    """
    target = Path(work_dir, name)
    try:
        replace_file(Path(work_dir, POINTER), lambda file: file.write(str(target).encode()))
    except OSError as error:
        raise CheckpointWriteError(
            f'{Path(work_dir, POINTER)}: not written: {error.strerror or error}. {target} itself is complete.'
        ) from error


def read_pointer(work_dir: Path) -> Path | None:
    """Return the checkpoint that ``last_checkpoint`` names; None without the file. It need not exist.

    A file of that name in the folder itself wins over the path that was written: folders get copied and moved.
    """
    try:
        text = Path(work_dir, POINTER).read_text(encoding='utf-8').strip()
    except (OSError, UnicodeDecodeError):
        return None
    if not text:
        return None
    here = Path(work_dir, Path(text).name)
    return here if here.exists() or not Path(text).exists() else Path(text)


def find_latest(work_dir: Path) -> Path | None:
    """Return the newest whole checkpoint of a work dir; None if there is none.

    ``last_checkpoint`` says which; if that one is missing or torn, the one before it is taken, and without a pointer
    the file written last. Every file that had to be skipped is named in a warning.

    Returns:
        The file's path.
    """
    work_dir = Path(work_dir)
    pointed = read_pointer(work_dir)
    candidates = _candidates(work_dir, pointed)
    skipped: list[str] = []
    for path in candidates:
        try:
            verify(path)
        except CorruptCheckpointError as error:
            skipped.append(str(error))
        except OSError as error:
            skipped.append(f'{path}: {error.strerror or error}.')
        else:
            if skipped:
                print_log(f'Skipped {" ".join(skipped)} Going on from {path}.', 'current', 30)
            return path
    if skipped:
        print_log(f'No whole checkpoint in {work_dir}. {" ".join(skipped)}', 'current', 30)
    return None


def _candidates(work_dir: Path, pointed: Path | None) -> list[Path]:
    folder = work_dir if pointed is None else pointed.parent
    paths = folder.iterdir() if folder.is_dir() else ()
    numbered = {path: match for path in paths if (match := _NUMBERED.fullmatch(path.name))}

    def age(path: Path) -> tuple:
        kind, number = numbered[path].groups()
        # Copied folders may have lost their times: then the number decides.
        return path.stat().st_mtime, kind, int(number)

    if pointed is None:
        return sorted(numbered, key=age, reverse=True)
    others = [path for path in numbered if path.name != pointed.name]
    match = _NUMBERED.fullmatch(pointed.name)
    if match is None:
        return [pointed, *sorted(others, key=age, reverse=True)]
    # Higher numbers than the pointer's are left-overs of a longer, earlier run in the same folder.
    earlier = [path for path in others if numbered[path][1] == match[1] and int(numbered[path][2]) < int(match[2])]
    earlier.sort(key=lambda path: int(numbered[path][2]), reverse=True)
    # A stopped epoch-based run saves iter_N.pth beside its epoch_N.pth: which of two kinds is older, times tell.
    other_kind = sorted((path for path in others if numbered[path][1] != match[1]), key=age, reverse=True)
    return [pointed, *earlier, *other_kind]


def remove_leftovers(work_dir: Path) -> list[Path]:
    """Delete the temporary files that a killed run left in its work dir.

    Args:
        work_dir: The folder; no other run may be writing there.

    Returns:
        What was deleted.
    """
    leftovers = [path for path in Path(work_dir).glob('.*.tmp') if TEMPORARY.fullmatch(path.name)]
    for path in leftovers:
        path.unlink(missing_ok=True)
    return leftovers


def switch_link(link: Path, target: Path) -> None:
    """Make ``link`` a second name of the file ``target``, in one step; a copy where no hard links are possible.

    Args:
        link: The name to switch; a file there is replaced.
        target: The file, in the same folder.

    Raises:
        CheckpointWriteError: If neither a link nor a copy can be made.
    """
    if link.exists() and link.samefile(target):
        return  # renaming one name of a file to another does nothing and would leave the temporary name
    temporary = link.with_name(f'.{link.name}.{os.getpid()}.tmp')
    temporary.unlink(missing_ok=True)
    try:
        try:
            os.link(target, temporary)
        except OSError:
            with target.open('rb') as source:
                replace_file(link, lambda file: shutil.copyfileobj(source, file, 1 << 20))
        else:
            os.replace(temporary, link)
            sync_folder(link.parent)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise CheckpointWriteError(
            f'{link}: not switched to {target.name}: {error.strerror or error}. {target} itself is complete.'
        ) from error


def describe_missing(path: Path) -> str:
    """Return the message for a checkpoint path that is no file: what is there instead.

    Args:
        path: The path that was asked for.

    Returns:
        One line.
    """
    if str(path).startswith(('torchvision:/', 'open-mmlab:/', 'openmmlab:/', 'modelzoo:/')):
        return f'{path}: a name in a model zoo of mmcv: download the file and give its path or its https address.'
    if path.is_dir():
        latest = find_latest(path)
        found = f'its newest checkpoint is {latest}' if latest else 'it holds no checkpoint'
        return f'{path} is a folder, not a checkpoint; {found}.'
    folder = path.parent
    if not folder.is_dir():
        existing = next(parent for parent in (*folder.parents, Path('.')) if parent.is_dir())
        near = nearest(
            folder.relative_to(existing).parts[0], [item.name for item in existing.iterdir() if item.is_dir()]
        )
        hint = f'; did you mean {", ".join(str(existing / name) for name in near)}?' if near else '.'
        return f'{path}: no such checkpoint: the folder {folder} does not exist{hint}'
    names = sorted(item.name for item in folder.iterdir() if item.suffix in _SUFFIXES and not item.name.startswith('.'))
    if not names:
        return f'{path}: no such checkpoint; {folder} holds none.'
    near = nearest(path.name, names) or names[:3]
    latest = find_latest(folder)
    newest = f'; the newest is {latest}' if latest else ''
    return f'{path}: no such checkpoint; near names there: {", ".join(near)}{newest}.'
