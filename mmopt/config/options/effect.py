"""What an option changes: one that changes nothing is refused, or passes with a warning where it may be meant."""

import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from mmopt.config.files import is_lazy, places_of
from mmopt.config.keys import EXTRAS, NATIVE, TOP_LEVEL
from mmopt.config.late import late_names
from mmopt.config.options.look import NUM_PLACES, at, leaves, listed, same, text_of
from mmopt.config.options.merge import ROOTS, apply_parsed, merge_options, nest_options
from mmopt.config.options.parse import parse_options
from mmopt.config.options.sections import check_depth, check_section
from mmopt.config.options.spread import Takes, spread
from mmopt.config.schema import ConfigError
from mmopt.config.words.dialects import entries, in_dialect, in_native
from mmopt.config.words.foreign import word_of
from mmopt.config.words.names import missing_sections, resemblance
from mmopt.utils.errors import ConfigWarning

__all__ = ['apply_with_effect']


def apply_with_effect(
    cfg: Mapping[str, Any], options: list[str], path: str | Path, *, native: bool, takes: Takes = lambda *_: False
) -> dict[str, Any]:
    """Apply command-line options and look at what each of them changes.

    An option that repeats the value already there is fine. One without effect is refused where it sets a variable whose
    value went elsewhere when the file was read, where its name is near a key or is another framework's, and where
    another key goes before it. Any other new name passes with a warning, since the user's own code may read it.

    Args:
        cfg: What the file says; it is not changed.
        options: ``key=value`` texts.
        path: The file.
        native: Whether it is a native config.
        takes: See :func:`mmopt.config.options.spread.spread`.

    Returns:
        A new config.

    Raises:
        ConfigError: If an option cannot be read, applied, or has no effect.
    """
    parsed = parse_options(options) if native else spread(cfg, parse_options(options), takes)
    known = {*NATIVE, *EXTRAS} if native else {*TOP_LEVEL.keys, *EXTRAS}
    names = {key: key.partition('.')[0] for key in parsed if key not in ROOTS}
    for key, name in names.items():
        if name not in known and name not in cfg and name not in late_names(cfg):
            _check_new_name(cfg, key, parsed[key], native=native)
    changed = apply_parsed(cfg, parsed)
    for name in dict.fromkeys(names.values()):
        if name not in known and name in cfg:
            given = {key: parsed[key] for key, other in names.items() if other == name}
            _check_variable(cfg, changed, name, given, path, known)
    if not native:
        for key, name in names.items():
            if name in TOP_LEVEL.keys:
                check_depth(changed, key, parsed[key])
                check_section(cfg, changed, key, parsed)
    return changed


# --- names that the file does not have ------------------------------------------------------------------------------
def _check_new_name(cfg: Mapping[str, Any], key: str, value: Any, *, native: bool) -> None:
    option = f'--options {key}={text_of(value)}'
    name = key.partition('.')[0]
    if native and name in TOP_LEVEL.keys and name != 'precision':
        raise ConfigError(
            f'{option} has no effect in a native MMEngine config; write {in_native(key)}={text_of(value)}.'
        )
    if not native and name in NATIVE:
        ours, word = in_dialect(key), word_of(key)
        if word is not None:
            raise ConfigError(f'{option} is no key of MMCV 1.x: {word.remedy(value)}.')
        remedy = f'write {ours}={text_of(value)}' if ours else 'write the key of MMCV 1.x (docs/config_reference.md)'
        raise ConfigError(f'{option} is MMEngine wording, and the config is written for MMCV 1.x: {remedy}.')
    keys = [known for known, _ in entries() if '.' in known and known.rpartition('.')[2] == key]
    if keys:
        # `samples_per_gpu` stands in seven places, of which people mean that in `data`.
        depth = min(known.count('.') for known in keys)
        keys = [known for known in keys if known.count('.') == depth]
        unique = dict.fromkeys(in_native(known) if native else known for known in keys)
        written = ' or '.join(f'{known}={text_of(value)}' for known in unique)
        raise ConfigError(f'{option} has no effect at the top level; write {written}.')
    if (word := word_of(key)) is not None:
        raise ConfigError(
            f'{option} has no effect: it is a word of {word.framework}; {word.remedy(value, native=native)}.'
        )
    missing = [section for section in NATIVE if section not in cfg] if native else missing_sections(cfg)
    present = [section for section in (NATIVE if native else TOP_LEVEL.keys) if section in cfg]
    near = resemblance(name, value, [*missing, *present], 0.8)
    if near is not None:
        raise ConfigError(f'{option}: there is no {name}; did you mean {near.key}?')
    inside = sorted(
        {place for place in leaves(cfg) if place.rpartition('.')[2] == key and place.partition('.')[0] != key}
    )
    inside = [place for place in inside if place.partition('.')[0] in (NATIVE if native else TOP_LEVEL.keys)]
    if inside:
        raise ConfigError(
            f'{option} has no effect at the top level; the config has {listed(inside)}: write '
            f'{inside[0]}={text_of(value)}.'
        )
    _warn(f'{option} sets a name that the config does not have; only code of your own may read it.')


# --- variables ------------------------------------------------------------------------------------------------------
def _check_variable(
    cfg: Mapping[str, Any],
    changed: Mapping[str, Any],
    name: str,
    given: Mapping[str, Any],
    path: str | Path,
    known: set[str],
) -> None:
    """Refuse a new value of a variable that was used before the options came."""
    if all(same(at(cfg, key), value) for key, value in given.items()):
        return
    option = '--options ' + ' '.join(f'{key}={text_of(value)}' for key, value in given.items())
    went = [(place, new) for place, new in _places(cfg, name, given, path) if place.partition('.')[0] in known]
    if went:
        if all(same(at(changed, place), new) for place, new in went):
            return  # another option has put the same value there
        written = ' '.join(f'{place}={text_of(new)}' for place, new in went[:NUM_PLACES])
        raise ConfigError(
            f'{option} has no effect: {name} is a variable of the file, whose value went into '
            f'{listed([place for place, _ in went])} when it was read; write {written}.'
        )
    if name in late_names(cfg):
        return
    near = resemblance(name, changed[name], missing_sections(cfg), 0.8) if 'data' in known else None
    if near is not None:
        raise ConfigError(f'{option} has no effect: {name} is a variable of the file; did you mean {near.key}?')
    if (word := word_of(name)) is not None:
        remedy = word.remedy(given.get(name), native='data' not in known)
        raise ConfigError(
            f'{option} has no effect: {name} is a variable that nothing of the config is made of; {remedy}.'
        )
    _warn(f'{option} sets a variable that nothing of the config is made of; only code of your own may read it.')


def _places(cfg: Mapping[str, Any], name: str, given: Mapping[str, Any], path: str | Path) -> list[tuple[str, Any]]:
    edit = _edit(name, given)
    if not is_lazy(Path(path)):
        return places_of(path, {name: edit})
    # MMEngine cannot be told another value: look for the old one, which most likely is there on purpose.
    old = cfg[name]
    if old is None or isinstance(old, bool) or old in ('', [], {}, ()):
        return []
    return list(_replaced(cfg, name, old, edit(old)))


def _edit(name: str, given: Mapping[str, Any]) -> Callable[[Any], Any]:
    nested = nest_options(given)

    def edit(old: Any) -> Any:
        try:
            return merge_options({name: old}, nested)[name]
        except ConfigError:
            return old  # an earlier value of the variable, which has no such part

    return edit


def _replaced(cfg: Mapping[str, Any], name: str, old: Any, new: Any) -> Iterator[tuple[str, Any]]:
    for place, value in leaves(cfg, whole=old).items():
        if place != name and same(value, old):
            yield place, new


def _warn(text: str) -> None:
    warnings.warn(text, ConfigWarning, stacklevel=2)
