"""What has changed between a checkpoint's settings and those of the run that goes on from it."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmopt.config.spelling import spelled
from mmopt.engine.resume.optimizer_settings import check_sections
from mmopt.engine.resume.saved_config import differences, optimizer_section, plain, saved_config
from mmopt.utils.errors import UserError

__all__ = ['Changes', 'changes_since', 'check_resumable', 'keeps_optimizer']

_SHOWN = 6


@dataclass(frozen=True)
class Changes:
    """What is another than in the checkpoint, and takes effect.

    Attributes:
        texts: ``'optimizer.lr 0.1 -> 0.2'``.
        sections: By optimizer (``''`` where there is one): its section in the checkpoint and now. Empty where the
            checkpoint's config is unknown.
        new_schedule: Whether ``param_scheduler`` is another.
        moves_rates: Whether a rate or a schedule is another, so that the saved states of schedulers do not fit.
    """

    texts: tuple[str, ...] = ()
    sections: Mapping[str, tuple[Mapping, Mapping]] | None = None
    new_schedule: bool = False
    moves_rates: bool = False

    def __str__(self) -> str:
        more = f', and {len(self.texts) - _SHOWN} more values' if len(self.texts) > _SHOWN else ''
        return ', '.join(self.texts[:_SHOWN]) + more

    def settings_of(self, name: str) -> set[str] | None:
        """Return the settings of an optimizer that the config has changed; None where that is unknown."""
        if self.sections is None or name not in self.sections:
            return None
        old, new = (section.get('optimizer') or {} for section in self.sections[name])
        changed = {key for key in old.keys() | new.keys() if plain(old.get(key)) != plain(new.get(key))}
        return changed | ({'lr'} if any(text.startswith('auto_scale_lr.') for text in self.texts) else set())

    def with_notes(self, notes: list[str], *, moves_rates: bool) -> 'Changes':
        """Add what the optimizer's groups tell: to be said where no config told it."""
        texts = self.texts if self.sections else (*self.texts, *(f'optimizer.{note}' for note in notes))
        return replace(self, texts=tuple(dict.fromkeys(texts)), moves_rates=self.moves_rates or moves_rates)


def changes_since(checkpoint: Mapping[str, Any], cfg: Mapping[str, Any], world_size: int) -> Changes:
    """Compare the config of a checkpoint with that of the run.

    Args:
        checkpoint: As :func:`mmopt.engine.checkpoint_io.load` gives it.
        cfg: The run's lowered config.
        world_size: Processes of the run.

    Returns:
        The changes.
    """
    old = saved_config(checkpoint)
    if not isinstance(old.get('optim_wrapper'), Mapping):
        return Changes()
    world_sizes = checkpoint['meta'].get('world_size') or world_size, world_size
    names = [''] if 'optimizer' in old['optim_wrapper'] else list(old['optim_wrapper'])
    sections = {
        name: (optimizer_section(old, world_sizes[0], name), optimizer_section(cfg, world_sizes[1], name))
        for name in names
    }
    if checkpoint['source_format'] == 'mmcv1':  # the rest was written for other classes
        old = {key: old[key] for key in ('optim_wrapper', 'param_scheduler') if key in old}
    found = differences(old, cfg)
    texts = [
        f'{place.replace("optim_wrapper.optimizer.", "optimizer.")} {_short(then)} -> {_short(now)}'
        for place, then, now in found
    ]
    places = [place for place, _, _ in found]
    new_schedule = any(place.startswith('param_scheduler') for place in places)
    return Changes(tuple(texts), sections, new_schedule, new_schedule)


def _short(value: Any) -> str:
    text = 'unset' if value is None else repr(value)
    return text if len(text) <= 40 else f'{text[:37]}...'


def keeps_optimizer(checkpoint: Mapping[str, Any], cfg: Mapping[str, Any], world_size: int) -> bool:
    """Tell whether a resumed run goes on with the optimizer's state.

    ``resume_optimizer=False`` holds once: the checkpoints of a run that began its optimizer afresh are resumed with it,
    although the command that goes on with them still says so.

    Args:
        checkpoint: As :func:`mmopt.engine.checkpoint_io.load` gives it.
        cfg: The run's lowered config.
        world_size: Processes of the run.

    Returns:
        Whether it does.
    """
    if cfg.get('resume_optimizer', True):
        return True
    if saved_config(checkpoint).get('resume_optimizer', True) or checkpoint.get('optimizer') is None:
        return False
    try:
        for old, new in (changes_since(checkpoint, cfg, world_size).sections or {}).values():
            check_sections(old, new)
    except UserError:
        return False
    return True


def check_resumable(
    checkpoint: Mapping[str, Any], path: Any, cfg: Mapping[str, Any], world_size: int, *, optimizer: bool
) -> None:
    """Refuse a file that no run can go on from, as far as it can be told without a model.

    Args:
        checkpoint: As :func:`mmopt.engine.checkpoint_io.load` gives it.
        path: Where from.
        cfg: The run's lowered config.
        world_size: Processes of the run.
        optimizer: Whether the optimizer is to go on, too.

    Raises:
        UserError: If the file holds weights alone, or what the optimizer needs is missing or of another one.
    """
    if checkpoint['source_format'] == 'weights':
        raise UserError(
            f'{path}: holds weights and nothing of a run, so there is none to go on with. Begin one with them: '
            f'--load-from {path}.'
        )
    if not optimizer:
        return
    if checkpoint.get('optimizer') is None:
        raise UserError(
            f'{path}: holds no optimizer state ({spelled("default_hooks.checkpoint.save_optimizer")}=False?), so a '
            f'run that goes on from it would not be the same. Begin one with its weights (--load-from {path}), or go '
            'on at iteration '
            f'{checkpoint["iter"]} with a fresh optimizer: --options resume_optimizer=False.'
        )
    for old, new in (changes_since(checkpoint, cfg, world_size).sections or {}).values():
        check_sections(old, new)
