"""How busy a GPU's cores are, through NVML."""

import time
import warnings
from collections.abc import Callable

import torch

__all__ = ['CoreUtilization']


class CoreUtilization:
    """Average the share of time in which a GPU ran a kernel, from a sample per second.

    NVML looks at the last fraction of a second only, so one look per log line would be a matter of luck.

    Args:
        device: The device. On a CPU, and where nvidia-ml-py is not installed, there is nothing to read.
        clock: Returns seconds.
    """

    def __init__(self, device: torch.device, clock: Callable[[], float] = time.monotonic) -> None:
        self._device = device
        self._clock = clock
        self._is_readable = device.type == 'cuda'
        self._last_s = -float('inf')
        self._samples: list[int] = []

    def sample(self) -> None:
        """Look, if a second has passed; costs microseconds otherwise."""
        if not self._is_readable or self._clock() - self._last_s < 1:
            return
        self._last_s = self._clock()
        try:
            with warnings.catch_warnings():
                warnings.simplefilter('ignore')  # of pynvml, about its own name
                # torch finds the card that CUDA_VISIBLE_DEVICES means.
                self._samples.append(torch.cuda.utilization(self._device))
        except (ModuleNotFoundError, RuntimeError, OSError):  # no nvidia-ml-py, no driver, a card that cannot tell
            self._is_readable = False
        except Exception as error:  # NVML's own errors have a type that only nvidia-ml-py knows
            if not type(error).__name__.startswith('NVMLError'):
                raise
            self._is_readable = False

    def read_percent(self) -> float | None:
        """Return the mean since the last call, 0 to 100; None where there is nothing to read."""
        samples, self._samples = self._samples, []
        return sum(samples) / len(samples) if samples else None
