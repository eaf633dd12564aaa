"""Which precisions a device computes: the one place that is asked.

Native
    The device multiplies in this precision itself, and faster than in fp32.
Emulated
    Results are those of the precision, at about the cost of fp32: on a CPU by our own products in fp32
    (:mod:`mmopt.engine.optim.half_on_cpu`), on an older GPU by CUDA's libraries. It saves memory, not time.
Missing
    torch cannot compute it on this device.

No text of mmopt recommends a precision that is not native.
"""

import platform
import statistics
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Literal

import torch

from mmopt.utils.platform import read_kernel_file

__all__ = [
    'DTYPES',
    'PRECISIONS',
    'Choice',
    'ComputeDevice',
    'Support',
    'choose_precision',
    'cpu_device',
    'cuda_device',
    'mps_device',
    'relative_time',
    'this_cpu',
    'this_device',
]

PRECISIONS = ('fp32', 'fp16', 'bf16')
"""What a run may be computed in."""
DTYPES = dict(fp32=torch.float32, fp16=torch.float16, bf16=torch.bfloat16)
"""Precision -> the type of what is multiplied."""
# bf16 first: it has the range of fp32, so that no loss scale is needed.
_HALVES = ('bf16', 'fp16')
_VOLTA, _AMPERE = (7, 0), (8, 0)
# A share of fp32's time below which a measured precision counts as the CPU's own (AVX512-BF16: 0.3).
_FASTER = 0.7


@dataclass(frozen=True)
class Support:
    """What a device does with a precision.

    Attributes:
        level: See the module.
        reason: A clause, to stand after "because" or a colon.
    """

    level: Literal['native', 'emulated', 'missing']
    reason: str

    @property
    def is_native(self) -> bool:
        """Whether the device computes it itself, faster than fp32."""
        return self.level == 'native'


@dataclass(frozen=True)
class ComputeDevice:
    """A kind of device and what it computes.

    Attributes:
        kind: ``'cpu'``, ``'cuda'``, ``'mps'``, or what else torch calls a device.
        supports: By precision; ``'tf32'`` is among them.
    """

    kind: str
    supports: Mapping[str, Support]

    def support(self, precision: str) -> Support:
        """Return what the device does with a precision: one of :data:`PRECISIONS` or ``'tf32'``."""
        return self.supports[precision]

    @property
    def native_half(self) -> str | None:
        """The half precision to recommend; None if the device has none of its own."""
        return next((name for name in _HALVES if self.supports[name].is_native), None)


@dataclass(frozen=True)
class Choice:
    """A precision and why it is the one.

    Attributes:
        precision: One of :data:`PRECISIONS`.
        reason: A clause.
    """

    precision: str
    reason: str

    def __str__(self) -> str:
        return f'{self.precision} (auto: {self.reason})'


def choose_precision(device: ComputeDevice, allowed: Collection[str] = _HALVES) -> Choice:
    """Choose the fastest precision that a device computes itself.

    Args:
        allowed: The half precisions that the config allows; fp32 always is.

    Returns:
        The choice.
    """
    for name in _HALVES:
        if name in allowed and device.support(name).is_native:
            return Choice(name, device.support(name).reason)
    reasons = dict.fromkeys(device.support(name).reason for name in _HALVES if name in allowed)
    return Choice('fp32', '; '.join(reasons) or 'the config allows no other')


# ------------------------------------------------------------------------------------------------- devices
def this_cpu() -> ComputeDevice:
    """Return this machine's CPU."""
    return cpu_device(_cpu_natives())


def this_device(kind: str | None = None) -> ComputeDevice:
    """Return what a run of this process computes on.

    Args:
        kind: What torch calls the device; None: a GPU where there is one, else the CPU.

    Returns:
        Of several visible GPUs the oldest: a run gives all of them the same precision.
    """
    if kind is None:
        kind = 'cuda' if torch.cuda.is_available() else 'mps' if torch.backends.mps.is_available() else 'cpu'
    if kind == 'cuda':
        if torch.version.hip:
            return _rocm_device()
        return cuda_device(min(torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())))
    if kind == 'mps':
        return mps_device(has_bf16=_is_macos_14())
    if kind == 'cpu':
        return this_cpu()
    unknown = Support('emulated', f'mmopt does not know what {kind} devices multiply themselves')
    return ComputeDevice(kind, dict(fp32=_FP32, fp16=unknown, bf16=unknown, tf32=_NO_TF32))


def cuda_device(capability: tuple[int, int]) -> ComputeDevice:
    """Describe an NVIDIA GPU.

    Args:
        capability: Its compute capability, of several GPUs the lowest one.

    Returns:
        fp16 from Volta (7.0) on, bf16 and TF32 from Ampere (8.0) on: where their tensor cores begin.
    """
    number = f'compute capability {capability[0]}.{capability[1]}'
    fp16 = (
        Support('native', f'tensor cores multiply it ({number})')
        if capability >= _VOLTA
        else Support('emulated', f'GPUs before Volta have no tensor cores ({number})')
    )
    bf16 = (
        Support('native', f'tensor cores multiply it ({number})')
        if capability >= _AMPERE
        else Support('emulated', f'GPUs before Ampere convert bf16 to fp32 ({number})')
    )
    tf32 = bf16 if bf16.is_native else Support('missing', f'GPUs before Ampere have no TF32 ({number})')
    return ComputeDevice('cuda', dict(fp32=_FP32, fp16=fp16, bf16=bf16, tf32=tf32))


def mps_device(*, has_bf16: bool) -> ComputeDevice:
    """Describe Apple's GPU.

    Args:
        has_bf16: Whether the system is macOS 14 or newer.

    Returns:
        fp16 and, from macOS 14 on, bf16, as torch has them.
    """
    bf16 = Support('native', "Apple's GPU computes it") if has_bf16 else Support('missing', 'bf16 needs macOS 14')
    return ComputeDevice(
        'mps', dict(fp32=_FP32, fp16=Support('native', "Apple's GPU computes it"), bf16=bf16, tf32=_NO_TF32)
    )


def cpu_device(native: Mapping[str, str]) -> ComputeDevice:
    """Describe a CPU.

    Args:
        native: Half precision that it multiplies itself -> its instructions for that, e.g. ``'AVX512-BF16'``.

    Returns:
        Half precisions that are not named are emulated.
    """
    halves = {
        name: Support('native', f'this CPU multiplies it itself ({native[name]})')
        if name in native
        else Support('emulated', f'this CPU has no {name} arithmetic')
        for name in _HALVES
    }
    return ComputeDevice('cpu', dict(fp32=_FP32, tf32=_NO_TF32, **halves))


def _is_macos_14() -> bool:
    try:
        return torch.backends.mps.is_macos_or_newer(14, 0)
    except RuntimeError:  # a build of torch without MPS
        return False


def _rocm_device() -> ComputeDevice:
    bf16 = (
        Support('native', 'ROCm says that this GPU computes it')
        if torch.cuda.is_bf16_supported(including_emulation=False)
        else Support('emulated', 'ROCm says that this GPU has no bf16 arithmetic')
    )
    fp16 = Support('native', 'AMD GPUs compute it')
    return ComputeDevice('cuda', dict(fp32=_FP32, fp16=fp16, bf16=bf16, tf32=_NO_TF32))


_FP32 = Support('native', 'every device computes fp32')
_NO_TF32 = Support('missing', 'only NVIDIA GPUs from Ampere on have TF32')


# ------------------------------------------------------------------------------------------- asking a CPU
@cache
def _cpu_natives() -> dict[str, str]:
    found = {name: _instructions(name) for name in _HALVES}
    return {name: text for name, text in found.items() if text is not None}


def _instructions(name: str) -> str | None:
    """Return what this CPU multiplies a half precision with and oneDNN uses; None for nothing."""
    # What torch.compile asks; there is no public name for it.
    answer = getattr(torch.ops.mkldnn, f'_is_mkldnn_{name}_supported', None)
    if answer is None:
        times = relative_time(_product_and_convolution(torch.float32), _product_and_convolution(DTYPES[name]))
        return 'measured' if times < _FASTER else None
    if not torch.backends.mkldnn.is_available() or not answer():
        return None
    if platform.machine().lower() not in ('x86_64', 'amd64'):
        return 'by oneDNN'
    # On x86 a yes is not enough: with AVX512 or AVX-NE-CONVERT alone oneDNN accepts bf16, converts to fp32 and takes
    # as long as that for products, five times as long for convolutions (measured: ONEDNN_MAX_CPU_ISA=AVX512_CORE).
    if torch.cpu._is_amx_tile_supported():
        return 'AMX'
    if name == 'bf16':
        return 'AVX512-BF16' if torch.cpu._is_avx512_bf16_supported() else None
    return 'AVX512-FP16' if 'avx512_fp16' in _linux_cpu_flags() else None


def _linux_cpu_flags() -> set[str]:
    for line in read_kernel_file('cpuinfo').splitlines():
        if line.startswith('flags'):
            return set(line.split(':', 1)[1].split())
    return set()


def _product_and_convolution(dtype: torch.dtype) -> list[Callable[[], object]]:
    a, b = torch.ones(512, 256, dtype=dtype), torch.ones(256, 512, dtype=dtype)
    x, weight = torch.ones(1, 32, 48, 48, dtype=dtype), torch.ones(32, 32, 3, 3, dtype=dtype)
    return [partial(torch.mm, a, b), partial(torch.nn.functional.conv2d, x, weight, padding=1)]


@torch.no_grad()
def relative_time(
    base: Sequence[Callable[[], object]], other: Sequence[Callable[[], object]], repeats: int = 5
) -> float:
    """Measure how long functions take compared with others, on one core: in 0.1 s where they take milliseconds.

    Args:
        base: Functions.
        other: The same work done otherwise, in the same order.
        repeats: Rounds; of each function the fastest counts, since other programs only ever add.

    Returns:
        Geometric mean of the ratios of ``other`` to ``base``.
    """
    num_threads, ratios = torch.get_num_threads(), []
    torch.set_num_threads(1)  # threads wait for each other on a busy machine
    try:
        for pair in zip(base, other, strict=True):
            fastest = [float('inf')] * 2
            for number in range(repeats + 1):  # and one to warm up
                for place, function in enumerate(pair):
                    start = time.perf_counter()
                    function()
                    fastest[place] = min(fastest[place], time.perf_counter() - start)
                if number and fastest[1] > 8 * fastest[0]:
                    break  # plain loops: nothing will change that, and they take long
            ratios.append(fastest[1] / fastest[0])
    finally:
        torch.set_num_threads(num_threads)
    return statistics.geometric_mean(ratios)
