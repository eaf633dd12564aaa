"""Versions of driver, torch, CUDA, cuDNN and packages, and the faults that are known of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import metadata

from mmopt.apis.doctor.check import Check
from mmopt.engine.memory.kernels import PREFERS_CUDNN
from mmopt.models.video.cudnn import WRONG_CUDNN
from mmopt.utils.platform import read_kernel_file

__all__ = ['FAULTS', 'Fault', 'Versions', 'check_versions', 'installed_versions', 'parse_version']

Version = tuple[int, ...]


def parse_version(text: str) -> Version:
    """Return the leading numbers of a version: ``'2.9.0+cu128'`` -> (2, 9, 0)."""
    numbers: list[int] = []
    for part in text.split('+')[0].split('.'):
        digits = part[: len(part) - len(part.lstrip('0123456789'))]
        if not digits:
            break
        numbers.append(int(digits))
    return tuple(numbers)


@dataclass(frozen=True)
class Versions:
    """What is installed.

    Attributes:
        torch: Version of torch.
        cuda: CUDA that torch was built for; None for a CPU build.
        cudnn: Of cuDNN, e.g. ``'9.10.2'``; None without it.
        driver: Of the NVIDIA driver; None without one.
        packages: Name of a distribution -> its version, of those that matter.
        capabilities: CUDA compute capability of each visible GPU.
    """

    torch: str
    cuda: str | None
    cudnn: str | None
    driver: str | None
    packages: Mapping[str, str]
    capabilities: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class Fault:
    """A known fault of some versions.

    Attributes:
        name: Whose.
        applies: Versions -> whether they have it.
        what: What goes wrong.
        is_fault: Whether numbers are wrong or nothing runs; otherwise it is slow.
        only_conv3d: Whether it concerns models with 3-D convolutions only.
    """

    name: str
    applies: Callable[[Versions], bool]
    what: str
    remedy: str
    is_fault: bool = True
    only_conv3d: bool = False


def _between(text: str | None, low: Version, high: Version) -> bool:
    """Tell whether low <= version < high."""
    return text is not None and low <= parse_version(text) < high


def _has(versions: Versions, *names: str) -> bool:
    return all(name in versions.packages for name in names)


FAULTS = (
    Fault(
        'cuDNN',
        lambda v: _between(v.cudnn, *WRONG_CUDNN),
        'cuDNN 9.8 to 9.14 computes wrong 3-D convolutions in bf16',
        'for 3-D convolutions use fp16 or fp32 (--precision), or install cuDNN 9.15 (pip install -U nvidia-cudnn-cu12)',
        only_conv3d=True,
    ),
    Fault(
        'attention',
        lambda v: (
            parse_version(v.torch) >= (2, 11)
            and _between(v.cudnn, (9, 15, 1), (9999,))
            and any(capability in PREFERS_CUDNN for capability in v.capabilities)
        ),
        'torch asks cuDNN for attention in fp16 and bf16 on this GPU, whose backward pass can give NaN under a mask '
        'where the length is 64 more than a multiple of 128',
        'if gradients become NaN: export TORCH_CUDNN_SDPA_DEPRIORITIZED=1',
        is_fault=False,
    ),
    Fault(
        'torch', lambda v: parse_version(v.torch) < (2, 10), 'older than 2.10, which mmopt needs', 'install torch 2.10'
    ),
    Fault(
        'setuptools',
        lambda v: _between(v.packages.get('setuptools'), (81,), (9999,)),
        'setuptools 81 removed pkg_resources, which mmengine imports',
        "pip install 'setuptools<81'",
    ),
    Fault(
        'mmcv',
        lambda v: _has(v, 'mmcv', 'mmcv-lite'),
        'mmcv and mmcv-lite share a folder: whichever came last has overwritten the other',
        'pip uninstall mmcv-lite mmcv, then install one of them',
    ),
    Fault(
        'OpenCV',
        lambda v: _has(v, 'opencv-python', 'opencv-python-headless'),
        'opencv-python and opencv-python-headless share a folder',
        'pip uninstall both, then install one of them',
    ),
)
"""Looked up by :func:`check_versions`; each is a fact with its remedy."""

# CUDA's major version -> lowest driver (NVIDIA's minor-version compatibility).
_DRIVERS: dict[int, Version] = {11: (450, 80), 12: (525, 60), 13: (580,)}
_PACKAGES = ('mmengine', 'mmcv', 'mmcv-lite', 'numpy', 'opencv-python', 'opencv-python-headless', 'setuptools')


def installed_versions() -> Versions:
    """Look at this installation."""
    import torch

    cudnn = torch.backends.cudnn.version() if torch.backends.cudnn.is_available() else None
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    capabilities = [torch.cuda.get_device_capability(index) for index in range(torch.cuda.device_count())]
    return Versions(torch.__version__, torch.version.cuda, _cudnn_text(cudnn), _driver(), packages, capabilities)


def _cudnn_text(number: int | None) -> str | None:
    """cuDNN 9 counts 9.10.2 as 91002, older ones 8.9.7 as 8907."""
    if number is None:
        return None
    base = 10000 if number >= 90000 else 1000
    return f'{number // base}.{number % base // 100}.{number % 100}'


def _driver() -> str | None:
    words = read_kernel_file('driver/nvidia/version').partition('\n')[0].split()
    return next((word for word in words if word[0].isdigit() and '.' in word), None)


def check_versions(versions: Versions, has_conv3d: bool | None = None) -> list[Check]:
    """Compare versions with what is known of them.

    Args:
        versions: What is installed.
        has_conv3d: Whether the model has 3-D convolutions; None if no model is known: what concerns them alone is then
            an advice.

    Returns:
        A line each for torch, driver, CUDA, cuDNN and packages; known faults in the place of their line.
    """
    found = {
        'torch': versions.torch,
        'driver': versions.driver or 'none',
        'CUDA': versions.cuda or 'none: a CPU build of torch',
        'cuDNN': versions.cudnn or 'none',
        'packages': ', '.join(f'{name} {version}' for name, version in versions.packages.items()),
    }
    remedies = dict.fromkeys(found, '')
    if versions.driver and versions.cuda is None:
        remedies['CUDA'] = 'there is a GPU: install the CUDA build of torch (pytorch.org/get-started)'
    if versions.driver and versions.cuda:
        least = _DRIVERS.get(parse_version(versions.cuda)[0])
        if least and parse_version(versions.driver) < least:
            needed = '.'.join(map(str, least))
            remedies['driver'] = f'CUDA {versions.cuda} needs driver {needed} or newer: update it, or use an older CUDA'
    faults = [
        Check(fault.name, fault.what, fault.remedy, is_fault=fault.is_fault and (has_conv3d or not fault.only_conv3d))
        for fault in FAULTS
        if fault.applies(versions) and not (fault.only_conv3d and has_conv3d is False)
    ]
    lines = [Check(name, text, remedies[name], is_fault=name == 'driver') for name, text in found.items()]
    return lines + faults
