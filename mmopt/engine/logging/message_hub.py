"""MMEngine's message hub, for scalars that are still on the device: they are fetched when somebody reads them."""

from collections import OrderedDict
from collections.abc import Callable

from mmengine.logging import MessageHub as _MessageHub

__all__ = ['MessageHub']


class MessageHub(_MessageHub):
    """Hold what a run logs; an instance of it is what ``MessageHub.get_current_instance()`` of MMEngine returns.

    Args:
        name: Its name in the table of all hubs.
        **kwargs: See :class:`mmengine.logging.MessageHub`.
    """

    def __init__(self, name: str, **kwargs) -> None:  # MMEngine looks for an argument of this name
        super().__init__(name, **kwargs)
        self.before_read: Callable[[], None] | None = None
        """Called before a scalar is read; brings what is pending."""

    @property
    def log_scalars(self) -> OrderedDict:
        """All scalars, with those of the iterations since the last log line."""
        if self.before_read is not None:
            self.before_read()
        return self._log_scalars

    def state_dict(self) -> dict:
        """Return what MMEngine saves of a hub."""
        if self.before_read is not None:
            self.before_read()
        return super().state_dict()


# One table of names for both: MMEngine's metaclass gives each class its own, and MMEngine's users ask its class.
MessageHub._instance_dict = _MessageHub._instance_dict
