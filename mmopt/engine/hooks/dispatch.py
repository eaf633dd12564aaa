"""Which hooks do something at a point of the run."""

from collections.abc import Callable, Sequence

from mmengine.hooks import Hook

__all__ = ['calls_at']


def calls_at(hooks: Sequence[Hook], point: str) -> list[Callable]:
    """Return the methods that are not empty, in the hooks' order.

    Args:
        hooks: The hooks of a run, by priority.
        point: Name of the point, e.g. ``'after_train_iter'``; its common stage (``_after_iter``) counts too.

    Returns:
        Bound methods, to be called with the runner.
    """
    stage = '_' + point.replace('_train_', '_').replace('_val_', '_').replace('_test_', '_')
    empty = {getattr(Hook, point, None), getattr(Hook, stage, None)}
    calls = []
    for hook in hooks:
        own = {getattr(type(hook), point, None), getattr(type(hook), stage, None)}
        # A method that was put into the hook itself counts as well.
        if hasattr(hook, point) and not (own <= empty and vars(hook).keys().isdisjoint((point, stage))):
            calls.append(getattr(hook, point))
    return calls
