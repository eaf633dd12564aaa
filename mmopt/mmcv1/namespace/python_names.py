"""Names that Python has moved: ``collections.Mapping`` and its like, given while code of that time runs."""

import collections
import collections.abc

__all__ = ['install_python_names']


def install_python_names() -> None:
    """Put the classes of ``collections.abc`` where they were until Python 3.9; a second time changes nothing."""
    for name in collections.abc.__all__:
        if not hasattr(collections, name):
            setattr(collections, name, getattr(collections.abc, name))
