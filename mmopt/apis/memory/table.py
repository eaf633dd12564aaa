"""A memory report as text."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mmopt.apis.memory.estimate import SLACK, MemoryReport
from mmopt.engine.memory.gpus import Budget
from mmopt.utils.memory import GIB
from mmopt.utils.terminal import paint, rows

__all__ = ['format_report', 'gib', 'plan_memory']

NUM_MODULES = 10
_LABELS = dict(
    weights='weights and buffers',
    averaged='averaged weights (EMA)',
    gradients='gradients',
    optimizer='optimizer state',
    inputs='batch',
    activations='activations',
    temporary='temporary',
    workspace="kernels' workspace",
)


def gib(size: int) -> str:
    """Write bytes in GiB: two digits after the point, three below 1 GiB."""
    return f'{size / GIB:.3f}' if size < GIB else f'{size / GIB:.2f}'


def format_report(report: MemoryReport) -> str:
    """Write a report for people.

    Args:
        report: From :func:`mmopt.apis.estimate_memory`.

    Returns:
        Lines: the settings as a table, the parts of the first, its modules, what fits, the host.
    """
    lines = [paint(f'{report.config}: memory of a training step, GiB, not calibrated on a GPU', 'bold')]
    lines += _settings(report)
    lines += ['', paint(_name(report.cases[0]), 'bold'), rows(_parts(report, report.cases[0]))]
    if report.budget is not None and report.largest:
        lines += ['', paint(_budget_title(report.budget), 'bold'), rows(_largest(report))]
    lines += ['', paint('host memory', 'bold'), rows(_host(report))]
    notes = list(_notes(report))
    return '\n'.join(lines + ([''] + [f'  {paint("!", "yellow")} {note}' for note in notes] if notes else []))


def plan_memory(report: MemoryReport) -> str:
    """Say in one line of the preflight block what a run takes."""
    low, middle, high = max(report.card_bytes(case) for case in report.cases)
    text = f'{gib(middle)} GiB of a GPU ({gib(low)} - {gib(high)}), {gib(report.host.total)} GiB of the host; '
    # As wide as the block's other labels, which are printed before this is known.
    return rows([('memory'.ljust(len('learning rate')), text + 'estimated, not calibrated')])


def _name(case: Mapping[str, Any]) -> str:
    checkpointing = {'none': '', 'config': ', checkpointing'}.get(case['checkpointing'], ', checkpointing')
    phase = f', {case["phase_of_run"]}' if case['phase_of_run'] else ''
    return f'batch {case["batch_size"]}, {case["precision"]}{checkpointing}{phase}'


def _settings(report: MemoryReport) -> Iterator[str]:
    head = ['batch', 'precision', 'checkpointing', 'allocated', 'reserved', 'card needs', 'range']
    has_phases = any(case['phase_of_run'] for case in report.cases)
    if has_phases:
        head.append('phase')
    if report.budget is not None:
        head.append(f'of {report.budget.name}')
    table = [head]
    for case in report.cases:
        low, middle, high = report.card_bytes(case)
        row = [str(case['batch_size']), case['precision'], case['checkpointing'], gib(case['allocated'])]
        row += [gib(case['reserved']), gib(middle), f'{gib(low)} - {gib(high)}']
        if has_phases:
            row.append(case['phase_of_run'])
        if report.budget is not None:
            share = middle / report.budget.total_bytes
            row.append(f'{share:.0%}' if share <= 1 else f'{share:.0%}: does not fit')
        table.append(row)
    yield from _align(table)


def _align(table: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        yield '  ' + '  '.join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def _parts(report: MemoryReport, case: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    total = sum(case['parts'].values())
    for part, label in _LABELS.items():
        size, most = case['parts'][part], case['most'][part]
        if not most:
            continue
        elsewhere = '' if most <= size * 1.01 + GIB // 1000 else f'   {gib(most)} at another moment'
        yield label, f'{gib(size):>7}  {size / total:4.0%}{elsewhere}'
        if part == 'activations':
            yield from (
                (f'  {name}', f'{gib(held):>7}  {held / total:4.0%}') for name, held in case['modules'][:NUM_MODULES]
            )
            others = sum(held for _, held in case['modules'][NUM_MODULES:])
            if others:
                yield f'  {len(case["modules"]) - NUM_MODULES} others', f'{gib(others):>7}  {others / total:4.0%}'
    yield 'peak', f'{gib(total):>7}        in the {case["phase"]} phase'
    if case['prefetched']:
        yield 'next batch', f'{gib(case["prefetched"]):>7}        copied while this one is computed'
    held = case['reserved'] - case['allocated'] - case['prefetched']
    yield 'cached and fragmented', f'{gib(held):>7}'
    low, middle, high = report.context
    yield 'CUDA context', f'{gib(middle):>7}        {gib(low)} - {gib(high)}, with driver and card'


def _budget_title(budget: Budget) -> str:
    return f'largest batch in {budget.name} ({gib(budget.total_bytes)} GiB), {SLACK:.0%} left free'


def _largest(report: MemoryReport) -> Iterator[tuple[str, str]]:
    for item in report.largest:
        label = item['precision'] + (
            '' if item['checkpointing'] == 'none' else f', checkpointing {item["checkpointing"]}'
        )
        if not item['batch_size']:
            yield label, 'none: not even one sample fits'
            continue
        low, middle, high = report.card_bytes(item['case'])
        beyond = item['case'].get('beyond')
        line = f', on the line of batches {beyond[0]} and {beyond[1]}' if beyond else ''
        yield label, f'{item["batch_size"]:>5}   {gib(middle)} GiB ({gib(low)} - {gib(high)}){line}'


def _host(report: MemoryReport) -> Iterator[tuple[str, str]]:
    host = report.host
    yield 'main process', f'{gib(host.main):>7}'
    yield f'{host.num_workers} workers', f'{gib(host.workers):>7}'
    yield 'decoding', f'{gib(host.samples):>7}'
    yield 'batches under way', f'{gib(host.batches):>7}'
    yield 'pinned copies', f'{gib(host.pinned):>7}'
    yield 'together', f'{gib(host.total):>7}   {gib(host.low)} - {gib(host.high)}'
    if report.ram is not None:
        fit = report.workers_that_fit
        answer = 'not even the main process fits' if fit is None else f'{fit} workers fit'
        yield f'in {gib(report.ram)} GiB', answer
    if report.chunk_frames is not None:
        yield 'frames per chunk', f'{report.chunk_frames} (max_video_frames)'


def _notes(report: MemoryReport) -> Iterator[str]:
    yield from dict.fromkeys(f'optimize.{effect}' for case in report.cases for effect in case['effects'])
    yield from dict.fromkeys(f'batches of {case["batches"]}.' for case in report.cases if case.get('batches'))
    assumed: dict[str, int] = {}
    for case in report.cases:
        assumed |= case['assumed']
    for text, count in assumed.items():
        yield f'assumed {count} times: {text}.'
    for case in report.cases:
        if case['accumulation'] > 1:
            yield f'{case["accumulation"]} iterations per step: gradients live from the first of them to the step.'
            break
