"""What each setting would take of a GPU, estimated without one: any machine can fill this part of a memory guide."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mmopt.apis.bench.claims import QUANTITIES, format_range
from mmopt.apis.bench.settings import Setting
from mmopt.apis.memory.estimate import estimate_memory
from mmopt.utils.errors import UserError
from mmopt.utils.host import usable_cores
from mmopt.utils.memory import GIB

__all__ = ['estimate_settings', 'estimates_table']

_CLAIMS = dict(gpu_gib='memory_gib', relative='memory_ratio')


def estimate_settings(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """Estimate the memory of every setting, as ``tools/estimate_memory.py`` does, several at a time.

    Args:
        settings: The settings; ``relative`` counts from the first.

    Returns:
        For each ``gpu_gib`` (reserved by PyTorch, the same as ``torch.cuda.max_memory_reserved``), ``relative`` and
        ``host_gib``; or ``failure``, the reason why there is no estimate.
    """
    # Each is a process of its own; more of them than cores would only wait.
    with ThreadPoolExecutor(min(usable_cores(), 4)) as threads:
        estimates = list(threads.map(_estimate, settings))
    base = estimates[0].get('gpu_gib')
    for estimate in estimates:
        if base and 'gpu_gib' in estimate:
            estimate['relative'] = estimate['gpu_gib'] / base
    return estimates


def _estimate(setting: Setting) -> dict[str, Any]:
    try:
        report = estimate_memory(
            setting.config, options=setting.options, precisions=[setting.precision] if setting.precision else []
        )
    except UserError as error:
        return dict(failure=str(error))
    reserved = max(case['reserved'] for case in report.cases)  # a config with phases has several
    return dict(gpu_gib=reserved / GIB, host_gib=report.host.total / GIB)


def estimates_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Lay the estimates out.

    Args:
        rows: Rows of the report, with what :func:`estimate_settings` returned as ``estimate``.

    Returns:
        Head and body of the table.
    """
    head = ['setting', 'GPU memory: claimed', 'estimated', 'relative: claimed', 'estimated', 'host memory: estimated']
    body = []
    for row in rows:
        cells = [row['name']]
        for key, claim in _CLAIMS.items():
            claimed, value = row['claimed'].get(claim), row['estimate'].get(key)
            cells += ['-' if claimed is None else format_range(QUANTITIES[claim], claimed)]
            cells += ['-' if value is None else f'{value:.2f} GiB' if key == 'gpu_gib' else f'{value:.2f}x']
        host_gib = row['estimate'].get('host_gib')
        body.append([*cells, '-' if host_gib is None else f'{host_gib:.1f} GiB'])
    return head, body
