"""What the machine is, whether everything imports, and its ceilings: what all other rows are divided by."""

import importlib
import pkgutil
import sys
from collections.abc import Iterator
from typing import Any

import torch
from torch.nn.functional import conv2d, scaled_dot_product_attention

from gpu_suite.child import Step
from gpu_suite.device import GIB, Gpu, open_gpu

# Packages of extras, which a machine may do without.
_EXTRAS = ('av', 'shapely', 'bitsandbytes', 'mamba_ssm', 'h5py', 'pycocotools', 'faster_coco_eval', 'pyarrow')


def run(step: Step) -> None:
    """Describe the machine."""
    _versions(step)
    _imports(step)
    gpu = open_gpu(tiny=step.tiny)
    _card(step, gpu)
    _copies(step, gpu)
    _products(step, gpu)
    _attention(step, gpu)
    _doctor(step)


def _versions(step: Step) -> None:
    import cv2
    import mmengine
    import numpy as np

    step.row(
        machine=dict(
            python=sys.version.split()[0],
            torch=torch.__version__,
            cuda=torch.version.cuda,
            cudnn=torch.backends.cudnn.version(),
            numpy=np.__version__,
            opencv=cv2.__version__,
            mmengine=mmengine.__version__,
            # What the memory estimate is made on.
            has_python_backend=hasattr(torch.utils.backend_registration, '_setup_privateuseone_for_python_backend'),
        )
    )


def _imports(step: Step) -> None:
    import mmopt

    failed, absent = {}, {}
    for module in pkgutil.walk_packages(mmopt.__path__, 'mmopt.'):
        if module.name.endswith('.__main__'):  # a program
            continue
        try:
            importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            (absent if (error.name or '').split('.')[0] in _EXTRAS else failed)[module.name] = str(error)
        except Exception as error:  # whatever a module does when it is loaded
            failed[module.name] = f'{type(error).__name__}: {error}'
    step.row(imports='absent extras', modules=absent)
    step.claim('every module imports', failed or 'all', not failed)


def _card(step: Step, gpu: Gpu) -> None:
    from mmopt.engine.memory.gpus import GPUS, parse_gpu
    from mmopt.engine.memory.gpus import Gpu as Card
    from mmopt.utils.errors import UserError

    name, total = gpu.cuda.get_device_name(), gpu.total_bytes()
    try:
        listed: Card | None = parse_gpu(name).gpu
    except UserError:
        listed = None
    step.row(machine=dict(gpu=name, gpu_gib=total / GIB, capability=list(gpu.cuda.get_device_capability())))
    step.row(card=name, total_gib=total / GIB, listed_gib=listed and listed.total_gib, known=len(GPUS))
    torch.zeros(1, device=gpu.device)
    bare = gpu.used_beside_allocator()
    size = step.size(1024, 64)
    matrix = torch.randn(size, size, device=gpu.device)
    matrix @ matrix
    image = torch.randn(2, 8, 64, 64, device=gpu.device)
    conv2d(image, torch.randn(8, 8, 3, 3, device=gpu.device), padding=1)
    gpu.cuda.synchronize()
    expected = None if listed is None else listed.context_gib[1]
    step.row(context='GiB', first_tensor=bare / GIB, libraries=gpu.used_beside_allocator() / GIB, expected=expected)


def _copies(step: Step, gpu: Gpu) -> None:
    num_bytes = step.size(256, 4) * 1024**2
    there = torch.empty(num_bytes, dtype=torch.uint8, device=gpu.device)
    other = torch.empty_like(there)
    pageable = torch.empty(num_bytes, dtype=torch.uint8)
    locked = torch.empty(num_bytes, dtype=torch.uint8, pin_memory=gpu.is_real)
    rates = dict(
        device=2 * gpu.bytes_per_s(lambda: other.copy_(there), num_bytes),  # reads and writes
        pinned=gpu.bytes_per_s(lambda: there.copy_(locked, non_blocking=True), num_bytes),
        pageable=gpu.bytes_per_s(lambda: there.copy_(pageable), num_bytes),
    )
    step.row(ceilings={f'copy_{name}_gb_per_s': rate / 1e9 for name, rate in rates.items()})


def _products(step: Step, gpu: Gpu) -> None:
    from mmopt.utils.machine import matmul_flop_per_s

    kinds = dict(bf16=(torch.bfloat16, False), fp16=(torch.float16, False), tf32=(torch.float32, True))
    kinds['fp32'] = (torch.float32, False)
    rates = {
        name: matmul_flop_per_s(dtype, gpu.device, tf32=tf32, size=gpu.product_size)
        for name, (dtype, tf32) in kinds.items()
    }
    step.row(ceilings={f'product_{name}_tflop_per_s': rate / 1e12 for name, rate in rates.items()})


def _shapes(step: Step) -> Iterator[tuple[str, tuple[int, ...], bool]]:
    """Yield attention of the models: name, (batch, heads, length, size), whether a mask learns."""
    scale = step.size(1, 32)
    yield 'Swin, trained bias', (1024 // scale, 3, 49, 32), True
    yield 'Swin, frozen bias', (1024 // scale, 3, 49, 32), False
    yield 'video transformer', (96 // scale, 8, 196 // scale + 1, 64), False
    # A length of 64 more than a multiple of 128 under a strong mask: known to give NaN.
    yield 'length 192', (16 // min(scale, 8), 4, 192, 64), False


def _attention(step: Step, gpu: Gpu) -> None:
    from torch.profiler import ProfilerActivity, profile

    from mmopt.engine.memory.kernels import choose_attention

    activities = [ProfilerActivity.CUDA] if gpu.is_real else [ProfilerActivity.CPU]
    capability = tuple(gpu.cuda.get_device_capability())
    for name, shape, learns in _shapes(step):
        for dtype in (torch.float32, torch.bfloat16):
            for has_mask in (False, True):
                made = [torch.randn(shape, device=gpu.device, dtype=dtype, requires_grad=True) for _ in range(3)]
                mask = _mask(shape, dtype, gpu.device).requires_grad_(learns) if has_mask else None
                with profile(activities=activities) as profiler:
                    scaled_dot_product_attention(*made, attn_mask=mask).sum().backward()
                    gpu.cuda.synchronize()
                names = [event.key for event in profiler.key_averages()]
                step.row(
                    attention=name,
                    precision=str(dtype).removeprefix('torch.'),
                    mask=has_mask,
                    expected=choose_attention(made[0], mask, capability),
                    ran=_backend(names),
                    is_finite=all(bool(torch.isfinite(tensor.grad).all()) for tensor in made),
                )


def _mask(shape: tuple[int, ...], dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    mask = torch.zeros(1, 1, shape[2], shape[2], device=device, dtype=dtype)
    mask[..., shape[2] // 2 :] = -1e4
    return mask


def _backend(kernels: list[str]) -> str:
    """Tell the kind of attention from the names of its kernels."""
    text = ' '.join(kernels).lower()
    for words, kind in ((('cudnn',), 'cudnn'), (('flash',), 'flash'), (('fmha', 'efficient'), 'efficient')):
        if any(word in text for word in words):
            return kind
    return 'math'


def _doctor(step: Step) -> None:
    from mmopt.apis.doctor import examine

    for check in examine():
        values: dict[str, Any] = dict(doctor=check.name, verdict=check.verdict, text=check.found, remedy=check.remedy)
        step.row(**values)
