"""The same key in both dialects, read from the tables of keys."""

from collections.abc import Iterator

from mmopt.config.keys import SAME, SECTIONS, TOP_LEVEL, Key

__all__ = ['entries', 'in_dialect', 'in_native', 'places']


def entries() -> Iterator[tuple[str, Key]]:
    """Walk through all keys of the dialect that have one place in a config.

    Yields:
        tuple[str, Key]: Dotted name, and what the table says; no keys of hooks, policies and other lists.
    """
    for key, entry in TOP_LEVEL.keys.items():
        yield key, entry
    for name, section in SECTIONS.items():
        if not name.rpartition('.')[2][0].isupper() and name not in ('phases', 'optimizer.paramwise_cfg.custom_keys'):
            for key, entry in section.keys.items():
                yield f'{name}.{key}', entry


def places(key: str, entry: Key) -> set[str]:
    """Return where a key goes in the lowered config, with one place for each loader where it goes to all."""
    found = {key if place == SAME else place for place in entry.places}
    split = key.split('.')[1].removesuffix('_dataloader') if key.startswith('data.') else ''
    splits = [split] if split in ('train', 'val', 'test') else ['train', 'val', 'test']
    return {place.replace('*', name, 1) for place in found for name in splits}


def in_native(key: str) -> str:
    """Return what a native config calls a key of the dialect.

    Args:
        key: Dotted.

    Returns:
        Dotted; the key as it is where the tables do not know it.
    """
    if key.startswith('optimize.'):
        return key  # the section is called so in both
    known = dict(entries())
    rest = ''
    while key not in known and '.' in key:
        key, _, last = key.rpartition('.')
        rest = f'.{last}{rest}'
    if key not in known or not known[key].places:
        return key + rest
    found = sorted(places(key, known[key]))
    # Of all loaders the training's, which is what people mean.
    place = next((name for name in found if name.startswith('train_dataloader')), found[0])
    # A list of schedulers, each with keys of its own.
    return 'param_scheduler' if place.startswith('param_scheduler') else place + rest


def in_dialect(place: str) -> str | None:
    """Return what the dialect calls a key of MMEngine, or None where the tables do not know it."""
    return next((key for key, entry in entries() if place in places(key, entry)), None)
