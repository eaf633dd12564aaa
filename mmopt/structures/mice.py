"""What Kaggle's MABe challenge calls the animals of a recording; elsewhere they are numbers from 0."""

__all__ = ['mouse_name', 'target_name']


def mouse_name(number: int) -> str:
    """Return ``'mouse1'`` for 0; -1 is ``'all'``, a session annotated as a whole."""
    return f'mouse{number + 1}' if number >= 0 else 'all'


def target_name(agent: int, target: int) -> str:
    """Return the name of a target: ``'self'`` for the agent itself."""
    return 'self' if agent == target >= 0 else mouse_name(target)
