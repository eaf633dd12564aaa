"""Settings of other code, key by key, as options of a config of ours: what a guide's YAML file says.

Every key is either mapped or named with the reason, so that nothing is lost in silence. This module reads no files and
chooses no base; :mod:`mmopt.apis.convert_settings` does.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mmopt.config.options.look import leaves
from mmopt.config.words.dialects import entries
from mmopt.config.words.foreign import word_of

__all__ = ['Mapped', 'flatten', 'map_settings']

_TRUE = (True, 'true', 'True', 'on', 'yes')
_FALSE = (False, 'false', 'False', 'off', 'no', None)


@dataclass(frozen=True)
class Mapped:
    """What became of one setting.

    Attributes:
        key: As the file says it, dotted.
        value: As YAML reads it.
        options: Keys of ours with their values; empty where there is none.
        reason: Why there is none, or what the key says beside them.
    """

    key: str
    value: Any
    options: Mapping[str, Any]
    reason: str = ''


def flatten(settings: Mapping[str, Any], place: str = '') -> Iterator[tuple[str, Any]]:
    """Walk through settings; lists are values.

    Yields:
        tuple[str, Any]: Dotted name and value.
    """
    for key, value in settings.items():
        name = f'{place}.{key}' if place else str(key)
        if isinstance(value, Mapping) and value:
            yield from flatten(value, name)
        else:
            yield name, value


def map_settings(
    settings: Mapping[str, Any], base: Mapping[str, Any], refusal: Callable[[str, Any], str]
) -> list[Mapped]:
    """Say every setting in our words.

    Args:
        settings: What the file says.
        base: The config that they change, in the dialect.
        refusal: (option, value) -> why the base does not take it; empty if it does.

    Returns:
        One entry per setting, in order.
    """
    found = []
    for key, value in flatten(settings):
        reasons = []
        for options, reason in _candidates(key, value, base):
            refused = next((text for name, given in options.items() if (text := refusal(name, given))), '')
            if not refused:
                found.append(Mapped(key, value, options, reason))
                break
            reasons.append(refused)
        else:
            found.append(Mapped(key, value, {}, reasons[0] if reasons else 'the base has nothing of this name'))
    return found


def _candidates(key: str, value: Any, base: Mapping[str, Any]) -> Iterator[tuple[dict[str, Any], str]]:
    """Propose options for a setting, the surest first; a proposal without options is a reason."""
    last = key.rpartition('.')[2]
    known = dict(entries())
    if key in known:
        yield {key: value}, ''
    section = key.partition('.')[0]
    if section == 'data' and '.' in key:
        yield {key: value}, ''  # of the data sets, where all take it
    word = word_of(last)
    if word is not None and word.ours:
        if word.ours.startswith('--precision'):
            yield _precision(value)
            return
        name, equals, example = word.ours.partition('=')
        if ' ' in word.ours or name.startswith('--') or not equals:
            yield {}, f'{word.remedy(value)}'
            return
        if example == '{}':
            yield {name: value}, ''
        elif value in _FALSE:
            yield {}, f'off, as it is without {name}'
        elif value in _TRUE:
            yield {name: example}, ''
        else:
            yield {}, word.remedy(value)
    same = [name for name in known if name.rpartition('.')[2] == last and '.' in name]
    depth = min((name.count('.') for name in same), default=0)
    same = [name for name in same if name.count('.') == depth]
    near = [name for name in same if name.startswith(f'{section}.')] or same
    if len(near) == 1:
        yield {near[0]: value}, ''
    if last in known:
        yield {last: value}, ''
    places = [place for place in leaves(base.get('model') or {}, 'model') if place.rpartition('.')[2] == last]
    held = {place: given for place, given in leaves(base).items() if place.rpartition('.')[2] == last}
    if held and all(given == value for given in held.values()):
        yield {}, f'as in the base: {", ".join(held)}'
    if len(places) == 1 and not any(part.isdigit() for part in places[0].split('.')):
        yield {places[0]: value}, ''


def _precision(value: Any) -> tuple[dict[str, Any], str]:
    text = str(value).lower()
    if value in _TRUE or text in ('16', 'fp16', 'float16', 'half', '16-mixed', '16-true', 'amp'):
        return {'precision': 'fp16'}, ''
    if text in ('bf16', 'bfloat16', 'bf16-mixed', 'bf16-true'):
        return {'precision': 'bf16'}, ''
    if value in _FALSE or text in ('32', 'fp32', 'float32', '32-true', 'no'):
        return {'precision': 'fp32'}, ''
    return {}, 'a precision is fp32, fp16, bf16 or auto (--precision)'
