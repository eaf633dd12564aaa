"""Messages name keys as the user's config does: one table, and no text beside it."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import mmopt
from mmopt.apis.config import load_config
from mmopt.config.keys import SECTIONS, TOP_LEVEL, is_lowered_to
from mmopt.config.spelling import NAMES, speak, spelled, spoken
from tests.config.samples import make_config

PACKAGE = Path(mmopt.__file__).parent
# Where a text of the 1.x dialect is right whatever the config is.
EXEMPT = {
    'config': 'lowers the dialect: every message is about a config that is written in it',
    'mmcv1': 'is for code and configs of mmcv 1.x',
    'apis/tune/edits.py': 'writes keys of both dialects, asked which',
    'apis/cli/flags.py': 'the help of a tool is printed before there is a config',
    'engine/schedules/policies.py': 'looks a table of the dialect up by the name of its section',
    'datasets/tad/prepare/config_text.py': 'is the text of a config',
    'evaluation/dataset_evaluate.py': 'is what a metric in the wording of mmcv 1.x is lowered to',
}
NATIVE = dict(
    train_dataloader=dict(batch_size=2, dataset=dict(type='Data')),
    train_cfg=dict(by_epoch=False, max_iters=4),
    optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.1)),
)


def _names_of_the_dialect() -> re.Pattern:
    sections = ('data', 'optimizer_config', 'lr_config', 'momentum_config', 'checkpoint_config', 'log_config')
    dotted = {f'{name}.{key}' for name in (*sections, 'runner', 'evaluation') for key in SECTIONS[name].keys}
    dotted |= {name for name in NAMES.values() if '.' in name} | {'optimizer.lr', 'optimizer.weight_decay'}
    bare = {'samples_per_gpu', 'videos_per_gpu', 'imgs_per_gpu', 'workers_per_gpu', 'total_epochs', 'total_iters'}
    bare |= {name for name in sections if '_' in name}
    return re.compile(r'(?<![\w.])(' + '|'.join(map(re.escape, sorted(dotted | bare))) + r')(?![\w(])')


def _texts(path: Path) -> Iterator[tuple[int, str]]:
    """Yield what could be printed: texts with a space that are no docstrings."""
    tree = ast.parse(path.read_text(encoding='utf-8'))
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    docstrings |= {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docstrings:
            yield node.lineno, node.value


def test_no_text_outside_the_table_names_a_key_of_the_dialect():
    pattern, found = _names_of_the_dialect(), []
    for path in sorted(PACKAGE.rglob('*.py')):
        name = path.relative_to(PACKAGE).as_posix()
        if not any(name == part or name.startswith(f'{part}/') for part in EXEMPT):
            found += [f'{name}:{line}: {text!r}' for line, text in _texts(path) if pattern.search(text)]
    assert not found, '\n'.join(['ask mmopt.config.spelling.spelled for the name:', *found])


@pytest.mark.parametrize('place', EXEMPT)
def test_what_is_exempt_is_there_and_has_such_a_text(place):
    path = PACKAGE / place
    files = [path] if path.suffix else path.rglob('*.py')
    assert path.exists()
    assert place == 'mmcv1' or any(_names_of_the_dialect().search(text) for file in files for _, text in _texts(file))


@pytest.mark.parametrize(('native', 'name'), NAMES.items())
def test_every_pair_is_one_that_the_tables_of_keys_lower(native, name):
    section, _, key = name.rpartition('.')
    entry = TOP_LEVEL.keys[name] if not section else SECTIONS[section].keys[key]
    place = '*_dataloader.dataset.data_root' if native == 'data_root' else native
    assert is_lowered_to(key, entry, place)


def test_a_key_is_spelled_as_in_the_config_that_was_read(tmp_path):
    assert spelled('train_dataloader.num_workers') == 'data.workers_per_gpu'
    native, dialect = tmp_path / 'native.py', tmp_path / 'dialect.py'
    native.write_text('\n'.join(f'{key} = {value!r}' for key, value in NATIVE.items()))
    dialect.write_text('\n'.join(f'{key} = {value!r}' for key, value in make_config().items()))
    load_config(native)
    assert spelled('train_dataloader.num_workers') == 'train_dataloader.num_workers'
    assert spelled('train_cfg.max_iters') == 'train_cfg.max_iters'
    load_config(dialect)
    assert spelled('train_dataloader.num_workers') == 'data.workers_per_gpu'
    assert spelled('train_cfg.max_iters') == 'runner.max_iters'
    assert spelled('train_cfg.max_iters', 'mmengine') == 'train_cfg.max_iters'


def test_a_key_that_is_not_in_the_table_is_no_name():
    speak('mmengine')
    assert spoken() == 'mmengine'
    with pytest.raises(KeyError):
        spelled('train_dataloader.batchsize')
