"""Tables of settings with what is claimed of them: data, read from ``benchmarks/tables/<name>.py``."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.config import Config

from mmopt.apis.bench.claims import check_claims
from mmopt.apis.bench.settings import Setting
from mmopt.utils.errors import UserError
from mmopt.utils.shipped import find_config

__all__ = ['Sum', 'Table', 'load_table', 'table_names']

_SUM_KEYS = {'name', 'of', 'validate', 'claimed'}
_ROW_KEYS = {'name', 'config', 'options', 'precision', 'validate', 'claimed', 'needs_gpu'}


@dataclass(frozen=True)
class Sum:
    """Several rows one after the other: the phases of one training.

    Attributes:
        name: What they are together.
        of: Their names.
        validate: Whether its hours count evaluations.
        claimed: What is said about all together.
    """

    name: str
    of: tuple[str, ...]
    validate: bool
    claimed: Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Table:
    """A table of settings.

    Attributes:
        name: Its file's name.
        title: What it compares.
        source: Who claims it.
        settings: Its rows; the first is the baseline.
        sums: Whole trainings made of several rows; relative hours count from the first.
        num_train: Training samples of the whole data set, for the projected hours; None: of what is there.
        num_val: Its validation samples.
        make_demo: Command that makes data to measure on, without the data set.
        estimate: Whether what each row takes of a GPU is estimated as well.
    """

    name: str
    title: str
    source: str
    settings: tuple[Setting, ...]
    sums: tuple[Sum, ...]
    num_train: int | None
    num_val: int | None
    make_demo: str
    estimate: bool


def table_names(folder: Path) -> list[str]:
    """Return the tables of a folder."""
    return sorted(path.stem for path in folder.glob('*.py') if not path.stem.startswith('_'))


def load_table(path: Path, *, options: Sequence[str] = (), demo: bool = False) -> Table:
    """Read a table.

    Args:
        path: Its file.
        options: Options of all rows, before their own.
        demo: Use the demo data instead of the data set.

    Returns:
        The table.

    Raises:
        UserError: If a key is missing, or a row has an unknown one.
    """
    content = Config.fromfile(str(path)).to_dict()  # other names in it are variables of its rows
    missing = [key for key in ('title', 'source', 'config', 'rows') if key not in content]
    if missing:
        raise UserError(f'{path}: the table lacks {", ".join(missing)}.')
    common = [*(content.get('demo_options', ()) if demo else ()), *options]
    settings = [_setting(row, content['config'], common, path) for row in content['rows']]
    return Table(
        name=path.stem,
        title=content['title'],
        source=content['source'],
        settings=tuple(settings),
        sums=tuple(_sum(row, {setting.name for setting in settings}, path) for row in content.get('sums', ())),
        num_train=content.get('num_train'),
        num_val=content.get('num_val'),
        make_demo=content.get('make_demo', ''),
        estimate=content.get('estimate', False),
    )


def _sum(row: dict, names: Collection[str], path: Path) -> Sum:
    unknown = sorted(row.keys() - _SUM_KEYS)
    absent = [name for name in row.get('of', ()) if name not in names]
    if unknown or absent or not row.get('of'):
        raise UserError(f'{path}: the sum {row.get("name")!r} has unknown keys {unknown}, or names no rows: {absent}.')
    claimed = row.get('claimed', {})
    check_claims(claimed, f'{path}, sum {row["name"]!r}')
    return Sum(row['name'], tuple(row['of']), row.get('validate', True), claimed)


def _setting(row: dict, config: str, common: Sequence[str], path: Path) -> Setting:
    unknown = sorted(row.keys() - _ROW_KEYS)
    if unknown or 'name' not in row:
        raise UserError(f'{path}: a row has unknown keys {unknown} or no name: {row}.')
    claimed = row.get('claimed', {})
    check_claims(claimed, f'{path}, row {row["name"]!r}')
    return Setting(
        name=row['name'],
        config=str(find_config(row.get('config', config))),
        options=(*common, *row.get('options', ())),
        precision=row.get('precision'),
        validate=row.get('validate', True),
        claimed=claimed,
        needs_gpu=row.get('needs_gpu', ''),
    )
