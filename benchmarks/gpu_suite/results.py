"""What was found, on the disk after every row: JSON, a table for people, and the logs."""

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gpu_suite.plan import CLAIMS, PlannedStep

__all__ = ['MAX_FILE_BYTES', 'Results']

MAX_FILE_BYTES = 16 * 10**6
_LOG_BYTES = 200_000
_TABLE_BYTES = 10_000
# Rows of these steps also get a file of their own, for calibration.
_OWN_FILES = dict(memory='memory.json', speed='speed.json')


class Results:
    """Collect rows and write them.

    Args:
        out: Folder of the results.
        steps: What is planned.
        facts: How the run was started.
    """

    def __init__(self, out: Path, steps: Sequence[PlannedStep], facts: Mapping[str, Any]) -> None:
        self.out = out
        out.mkdir(parents=True, exist_ok=True)
        self.questions = {step.name: step.question for step in steps}
        self.state: dict[str, Any] = dict(
            **facts,
            machine={},
            ceilings={},
            steps=[dict(name=step.name, state='not begun', seconds=0.0, rows=[], error='') for step in steps],
        )
        self.logs: dict[str, Path] = {}

    def step(self, name: str) -> dict[str, Any]:
        """Return the entry of a step; changes of it are written by :meth:`write`."""
        return next(entry for entry in self.state['steps'] if entry['name'] == name)

    def add(self, name: str, row: Mapping[str, Any]) -> None:
        """Add a row of a step and write everything; rows named ``machine`` and ``ceilings`` describe all."""
        row = dict(row)
        for key in ('machine', 'ceilings'):
            self.state[key] |= row.pop(key, {})
        if row:
            self.step(name)['rows'].append(row)
        self.write()

    def write(self) -> None:
        """Write JSON and tables, each by renaming a finished file."""
        _replace(self.out / 'suite.json', json.dumps(self.state, indent=1).encode())
        _replace(self.out / 'suite.md', self.markdown().encode())
        for name, file in _OWN_FILES.items():
            rows = [row for entry in self.state['steps'] if entry['name'] == name for row in entry['rows']]
            if rows:
                content = dict(machine=self.state['machine'], ceilings=self.state['ceilings'], rows=rows)
                _replace(self.out / file, json.dumps(content, indent=1).encode())

    def write_logs(self) -> None:
        """Pack the end of every step's log."""
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode='w:gz') as archive:
            for name, path in self.logs.items():
                content = path.read_bytes()[-_LOG_BYTES:] if path.is_file() else b''
                info = tarfile.TarInfo(f'{name}.log')
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
        _replace(self.out / 'logs.tar.gz', packed.getvalue())

    def drop_large_files(self) -> list[str]:
        """Remove files that could not be brought home; return their names."""
        large = [path for path in self.out.iterdir() if path.stat().st_size > MAX_FILE_BYTES]
        for path in large:
            path.unlink()
        return [path.name for path in large]

    def claims(self) -> list[dict[str, Any]]:
        """Return what is claimed, with what was measured of it."""
        found = [row for entry in self.state['steps'] for row in entry['rows'] if 'claim' in row]
        rows = []
        for _, text in CLAIMS:
            measured = [row for row in found if row['claim'] == text]
            verdict = 'not measured'
            if measured:
                verdict = self._verdict(all(row['holds'] for row in measured))
            rows.append(
                dict(
                    claim=text,
                    claimed='',
                    measured='; '.join(str(row['measured']) for row in measured),
                    verdict=verdict,
                )
            )
        known = {text for _, text in CLAIMS}
        rows += [
            dict(
                claim=row['claim'],
                claimed=row.get('claimed', ''),
                measured=row['measured'],
                verdict=self._verdict(row['holds']),
            )
            for row in found
            if row['claim'] not in known
        ]
        return rows

    def _verdict(self, holds: bool) -> str:
        if self.state['rehearsal']:
            return 'rehearsed'
        return 'holds' if holds else 'does not hold'

    def markdown(self) -> str:
        """Write a table per step, then the claims."""
        facts = {key: value for key, value in self.state.items() if key not in ('steps', 'machine', 'ceilings')}
        lines = ['# What one GPU said', '']
        if self.state['rehearsal']:
            lines += ['**A rehearsal on a CPU: nothing here is a measurement of a GPU.**', '']
        for title, mapping in (
            ('run', facts),
            ('machine', self.state['machine']),
            ('ceilings', self.state['ceilings']),
        ):
            lines.append(f'- {title}: ' + ', '.join(f'{key} {_cell(value)}' for key, value in mapping.items()))
        for entry in self.state['steps']:
            lines += [
                '',
                f'## {entry["name"]}: {entry["state"]}, {entry["seconds"]:.0f} s',
                self.questions[entry['name']],
            ]
            if entry['error']:
                lines += ['', '```', entry['error'], '```']
            lines += _table([row for row in entry['rows'] if 'claim' not in row])
        lines += ['', '## Claims', *_table(self.claims())]
        return '\n'.join(lines) + '\n'

    def table_for_terminal(self) -> str:
        """Return the report, short enough for the end of an output."""
        text = self.markdown()
        return text if len(text) <= _TABLE_BYTES else '...\n' + text[-(_TABLE_BYTES - 4) :]


def _table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return tables, one for each set of columns."""
    lines: list[str] = []
    columns: list[str] = []
    for row in rows:
        if list(row) != columns:
            columns = list(row)
            lines += ['', '| ' + ' | '.join(columns) + ' |', '|---' * len(columns) + '|']
        lines.append('| ' + ' | '.join(_cell(row[name]) for name in columns) + ' |')
    return lines


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f'{value:.4g}'
    if isinstance(value, Mapping):
        return ', '.join(f'{key} {_cell(item)}' for key, item in value.items())
    if isinstance(value, list):
        return ', '.join(_cell(item) for item in value)
    return str(value).replace('|', '/').replace('\n', ' ')[:300]


def _replace(path: Path, content: bytes) -> None:
    temporary = path.with_name(f'.{path.name}.part')
    temporary.write_bytes(content)
    temporary.replace(path)
