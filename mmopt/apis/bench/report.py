"""The figures of a benchmark as Markdown, JSON and a picture."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from mmopt.apis.bench.bottlenecks import find_bottleneck, markdown_bottlenecks
from mmopt.apis.bench.claims import QUANTITIES, format_range
from mmopt.apis.bench.estimates import estimates_table
from mmopt.apis.bench.plot import plot_rows
from mmopt.apis.bench.rounds import SettingResult, Spread, loss_difference
from mmopt.apis.bench.schedule import project_hours
from mmopt.apis.bench.tables import Sum
from mmopt.apis.bench.text import format_spread, markdown_table
from mmopt.engine.bench import PARTS
from mmopt.utils.optional import run_optional, warn
from mmopt.utils.terminal import number

__all__ = ['NOT_MEASURED', 'make_rows', 'make_sums', 'markdown', 'write_report']

NOT_MEASURED = 'not measured'
"""The failure of a row of which no trial was wanted."""

_OF_TRIALS = (
    'speed', 'gpu_gib', 'memory_ratio', 'host_gib', 'hours', 'schedule_speed', 'metric', 'metric_loss', 'busy',
)  # fmt: skip

_ESTIMATES = (
    'Estimated: the memory that PyTorch would reserve on a GPU, from two optimizer steps on a simulated one '
    '(`tools/estimate_memory.py`); not calibrated. Relative estimates are relative to the first setting.'
)


def make_rows(
    results: Sequence[SettingResult], *, num_train: int | None = None, num_val: int | None = None
) -> list[dict[str, Any]]:
    """Turn results into rows of plain figures; everything relative counts from the first setting.

    Args:
        num_train: Training samples of the whole data set, for the projected hours.
        num_val: Its validation samples.

    Returns:
        One row per setting.
    """
    base = results[0]
    rows = [_row(result, base, num_train, num_val) for result in results]
    first = rows[0]
    for row in rows:
        if 'failure' in row or 'failure' in first:
            continue
        row['memory_ratio'] = row['peak_gib'] / first['peak_gib']
        if row['hours'] and first['hours']:
            row['schedule_speed'] = first['hours']['total'] / row['hours']['total']
        if row['metric'] and first['metric']:
            row['metric_loss'] = _lost(row['metric'], first['metric'])
    return rows


def make_sums(rows: Sequence[Mapping[str, Any]], sums: Sequence[Sum]) -> list[dict[str, Any]]:
    """Add up the hours of rows that are phases of one training.

    Args:
        rows: What :func:`make_rows` returned.
        sums: Which rows belong together.

    Returns:
        One row per sum, without figures of a single trial; ``schedule_speed`` counts from the first sum.
    """
    named = {row['name']: row for row in rows}
    made: list[dict[str, Any]] = []
    for item in sums:
        parts: list[Any] = [named.get(name, {}).get('hours') for name in item.of]
        row: dict[str, Any] = dict.fromkeys(_OF_TRIALS) | dict(name=item.name, claimed=item.claimed, is_sum=True)
        if all(parts):
            keys = ('train', 'evaluate', 'save') if item.validate else ('train', 'save')
            hours = {key: sum(part[key] for part in parts) for key in keys}
            row['hours'] = dict(evaluate=0.0) | hours | dict(total=sum(hours.values()))
            if made and made[0]['hours']:
                row['schedule_speed'] = made[0]['hours']['total'] / row['hours']['total']
        made.append(row)
    return made


def _row(result: SettingResult, base: SettingResult, num_train: int | None, num_val: int | None) -> dict[str, Any]:
    setting = result.setting
    row: dict[str, Any] = dict(
        name=setting.name,
        config=setting.config,
        options=list(setting.options),
        precision=setting.precision,
        claimed=setting.claimed,
    )
    if result.failure or not result.trials:
        return row | dict(failure=result.failure or NOT_MEASURED)
    first, (kind, peak) = result.trials[0], result.peak_gib()
    compares = not base.failure and bool(base.trials)
    step = Spread.of(result.step_s())
    hours = project_hours(
        first | dict(iter_s=[step.median], **_medians(result, ('val_batch_s', 'save_s'))),
        setting.load().to_dict(),
        num_train=num_train,
        num_val=num_val,
        validate=setting.validate,
    )
    parts = {part: statistics.median(trial['parts_s'][part] for trial in result.trials) for part in PARTS}
    row |= dict(
        batch_size=first['batch_size'],
        accumulation=first['accumulation'],
        samples_per_s=asdict(Spread.of(result.samples_per_s())),
        step_s=asdict(step),
        speed=asdict(result.speed_over(base)) if compares else dict(median=None),
        parts_s=parts,
        busy=1 - parts['data'] / step.median,
        peak_kind=kind,
        peak_gib=peak,
        gpu_gib=peak if kind == 'reserved' else None,
        host_gib=max(trial['peak_gib']['host'] for trial in result.trials),
        memory_ratio=None,
        flops=first.get('flops'),
        matmul_flop_per_s=result.median('matmul_flop_per_s'),
        mfu=result.median('mfu'),
        loss_difference=loss_difference(first, base.trials[0]) if compares else None,
        loss_iterations=len(first['losses']),
        hours=hours,
        schedule_speed=None,
        metric=_metric(result),
        metric_loss=None,
        rounds=len(result.trials),
        emulates=first.get('emulates'),
    )
    return row | dict(bottleneck=find_bottleneck(row, first))


def _medians(result: SettingResult, keys: Sequence[str]) -> dict[str, float]:
    return {key: value for key in keys if (value := result.median(key)) is not None}


def _metric(result: SettingResult) -> dict[str, Any] | None:
    if not result.metrics or result.metrics[0]['main_metric'] is None:
        return None
    name = result.metrics[0]['main_metric']
    return dict(name=name, **asdict(Spread.of([trial['metrics'][name] for trial in result.metrics])))


def _lost(metric: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    """Return the share of the baseline's metric that is lost: negative where it is better."""
    from mmopt.apis.logs.read import is_lower_better

    if metric['name'] != base['name'] or not base['median']:
        return None
    change = (base['median'] - metric['median']) / abs(base['median'])
    return -change if is_lower_better(metric['name']) else change


def markdown(
    rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], title: str, notes: Sequence[str] = ()
) -> str:
    """Write rows as Markdown.

    Args:
        rows: What :func:`make_rows` returned.
        machine: What :func:`mmopt.utils.machine.describe_machine` returned.
        title: Head line.
        notes: Sentences below the tables.

    Returns:
        The text.
    """
    measured = [row for row in rows if 'failure' not in row and not row.get('is_sum')]
    blocks = [f'# {title}', ', '.join(f'{key} {value}' for key, value in machine.items())]
    if any(row['claimed'] for row in rows) and any(row.get('failure') != NOT_MEASURED for row in rows):
        blocks.append('## Claimed and measured\n\n' + _claims_table(rows))
    if measured:
        blocks += [
            '## Figures\n\n' + _main_table(rows),
            '## Where the time of an iteration goes\n\n' + _split(measured),
        ]
    known = [row for row in measured if row['bottleneck']]
    if known:
        blocks.append('## What the whole schedule waits for\n\n' + markdown_bottlenecks(known))
    estimated = [row for row in rows if row.get('estimate')]
    if estimated:
        blocks.append('## Estimated, without a GPU\n\n' + markdown_table(*estimates_table(estimated)))
    failures = [
        f'- {row["name"]}{what}: {part["failure"]}'
        for row in rows
        for what, part in (('', row), (', estimate', row.get('estimate', {})))
        if part.get('failure', NOT_MEASURED) != NOT_MEASURED
    ]
    if failures:
        blocks.append('## Not measured\n\n' + '\n'.join(failures))
    explained = [*_explanations(measured), *([_ESTIMATES] if estimated else [])]
    blocks.append('\n'.join(f'- {note}' for note in [*notes, *explained]))
    return '\n\n'.join(blocks) + '\n'


def _main_table(rows: Sequence[Mapping[str, Any]]) -> str:
    with_metric = any(row.get('metric') for row in rows)
    head = ['setting', 'batch', 'samples/s', 'speed', 'memory GiB', 'MFU', 'loss difference', 'whole schedule']
    body = []
    for row in rows:
        if 'failure' in row or row.get('is_sum'):
            body.append([row['name'], *['-'] * (len(head) - 1 + with_metric)])
            body[-1][len(head) - 1] = _hours(row.get('hours') or {})
            continue
        accumulated = f' x {row["accumulation"]}' if row['accumulation'] > 1 else ''
        cells = [
            row['name'],
            f'{row["batch_size"]}{accumulated}',
            format_spread(row['samples_per_s'], partial(number, digits=3)),
            format_spread(row['speed'], '{:.2f}x'.format),
            f'{row["peak_gib"]:.2f} {row["peak_kind"]}',
            '-' if row['mfu'] is None else f'{row["mfu"]:.0%} of {number(row["matmul_flop_per_s"] / 1e12, 3)}',
            'other batch' if row['loss_difference'] is None else f'{row["loss_difference"]:.2%}',
            _hours(row['hours']),
        ]
        if with_metric:
            cells.append(_metric_text(row))
        body.append(cells)
    return markdown_table([*head, 'metric'] if with_metric else head, body)


def _metric_text(row: Mapping[str, Any]) -> str:
    if not row['metric']:
        return '-'
    lost = '' if row['metric_loss'] is None else f', lost {row["metric_loss"]:.2%}'
    return f'{row["metric"]["name"]} {format_spread(row["metric"], number)}{lost}'


def _hours(hours: Mapping[str, float]) -> str:
    if not hours:
        return '-'
    evaluate, save = (number(hours[part], 2) for part in ('evaluate', 'save'))
    return f'{number(hours["total"], 3)} h (evaluation {evaluate}, saving {save})'


def _split(rows: Sequence[Mapping[str, Any]]) -> str:
    head = ['setting', 'iteration ms', *(f'{part} ms' for part in PARTS)]
    body = [
        [
            row['name'],
            format_spread({key: 1000 * value for key, value in row['step_s'].items()}, number),
            *(number(1000 * row['parts_s'][part], 3) for part in PARTS),
        ]
        for row in rows
    ]
    return markdown_table(head, body)


def _claims_table(rows: Sequence[Mapping[str, Any]]) -> str:
    used = [name for name in QUANTITIES if any(name in row['claimed'] for row in rows)]
    head = ['setting']
    for name in used:
        head += [f'{QUANTITIES[name].title}: claimed', 'measured']
    body = []
    for row in rows:
        cells = [row['name']]
        for name in used:
            quantity, claimed = QUANTITIES[name], row['claimed'].get(name)
            value = None if 'failure' in row else quantity.read(row)
            text = '-' if value is None else quantity.text.format(value)
            if value is not None and claimed is not None:
                text = f'**{text}**' if quantity.holds(value, claimed) else f'{text}, not as claimed'
            cells += ['-' if claimed is None else format_range(quantity, claimed), text]
        body.append(cells)
    return (
        markdown_table(head, body)
        + '\n\nBold: at least as good as claimed. Relative figures are relative to the first setting.'
    )


def _explanations(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    first = rows[0]
    notes = [
        f'Medians of {first["rounds"]} rounds, lowest and highest in brackets. In a round the settings run one after '
        'the other, each in a process of its own. Speed: throughput relative to the first setting of the same round.',
        f'Loss difference: mean over the first {first["loss_iterations"]} iterations, with the same seed and samples.',
        'data: the wait for the loader; copy: the transfer to the device, and what is prepared there; other: hooks and '
        'logs.',
    ]
    if first['mfu'] is not None:
        notes.append(
            'MFU (model FLOPs utilization): counted operations per second over the speed of matrix products in the '
            'same process, which stands behind it in TFLOP/s (in fp32 on a GPU, TF32 for what may use it); what '
            'activation checkpointing recomputes counts as work.'
        )
    if first['peak_kind'] == 'host':
        notes.append('Without a GPU, memory is what the process and its workers hold; only ratios are meaningful.')
    emulated = [f'{row["name"]} ({row["emulates"]})' for row in rows if row['emulates']]
    if emulated:
        notes.append(
            'This device emulates the precision of these settings (it computes products in fp32 and rounds them), so '
            f'their speed says nothing about a device that does not: {"; ".join(emulated)}.'
        )
    if first['hours']:
        notes.append(
            'Whole schedule: the iterations, evaluations and checkpoints of the config, times their measured cost.'
        )
    return notes


def write_report(
    rows: Sequence[Mapping[str, Any]], machine: Mapping[str, Any], out: Path, title: str, notes: Sequence[str] = ()
) -> str:
    """Write ``out.md``, ``out.json`` and ``out.png``.

    Args:
        rows: What :func:`make_rows` returned.
        machine: What it was measured on.
        out: Path without ending.
        title: Head line.
        notes: Sentences below the tables.

    Returns:
        The Markdown text.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    text = markdown(rows, machine, title, notes)
    content = dict(title=title, machine=dict(machine), notes=list(notes), rows=list(rows))
    out.with_suffix('.json').write_text(json.dumps(content, indent=1) + '\n', encoding='utf-8')
    measured = [row for row in rows if 'failure' not in row and not row.get('is_sum')]
    picture = out.with_suffix('.png')
    if measured:
        picture.unlink(missing_ok=True)  # of an earlier report
        run_optional('picture of the report', warn, plot_rows, measured, picture, title)
    is_drawn = bool(measured) and picture.exists()
    # For readers of the file; a terminal shows no picture.
    shown = f'\n![Samples per second, time per sample and memory]({picture.name})\n' if is_drawn else ''
    out.with_suffix('.md').write_text(text + shown, encoding='utf-8')
    return text
