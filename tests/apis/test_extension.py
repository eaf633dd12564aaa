"""The switch for mmcv's extension in PyTorch: asked for by config or environment, said in one line, never silent."""

import importlib.util
import sys

import pytest

from mmopt.apis import extension
from mmopt.apis.config import load_config, read_config
from mmopt.config import lower
from mmopt.mmcv1 import extension as stand_in
from mmopt.utils.errors import UserError
from tests.config.samples import make_config

pytestmark = pytest.mark.skipif(importlib.util.find_spec('mmcv') is None, reason='mmcv or mmcv-lite is not installed')
IMPORTS = 'custom_imports = dict(imports=["asks_for_ops"])\n'


@pytest.fixture(autouse=True)
def _as_in_a_new_process(monkeypatch, tmp_path):
    monkeypatch.setattr(extension, '_has_told', False)
    monkeypatch.delenv(extension.VARIABLE, raising=False)
    monkeypatch.delitem(sys.modules, 'mmcv._ext', raising=False)
    monkeypatch.delitem(sys.modules, 'asks_for_ops', raising=False)
    (tmp_path / 'asks_for_ops.py').write_text('from importlib import import_module\nimport_module("mmcv._ext")\n')
    monkeypatch.syspath_prepend(tmp_path)
    yield
    if (mmcv := sys.modules.get('mmcv')) is not None and hasattr(mmcv, '_ext'):
        monkeypatch.delattr(mmcv, '_ext')


@pytest.fixture
def config(tmp_path):
    def write(text: str = ''):
        path = tmp_path / 'their_config.py'
        path.write_text(f'train_dataloader = dict(dataset=dict(type="Data"))\n{IMPORTS}{text}')
        return path

    return write


def test_without_being_asked_nothing_is_put_there(config):
    with pytest.raises(UserError, match='mmcv._ext'):
        read_config(config())
    assert 'mmcv._ext' not in sys.modules


def test_a_config_asks_for_it_before_its_modules_are_imported_and_one_line_says_so(config, capsys):
    path = config("mmcv_extension = 'torch'\n")
    read_config(path)
    load_config(path)
    assert 'mmcv._ext' in sys.modules
    assert capsys.readouterr().err == (
        "note: mmcv_extension='torch': mmcv's compiled functions run in PyTorch here, as far as mmopt has them.\n"
    )


def test_an_option_asks_for_it(config):
    read_config(config(), ['mmcv_extension=torch'])
    assert 'mmcv._ext' in sys.modules


def test_the_environment_asks_for_it(config, monkeypatch, capsys):
    monkeypatch.setenv(extension.VARIABLE, 'torch')
    read_config(config())
    assert 'mmcv._ext' in sys.modules
    assert capsys.readouterr().err.startswith("note: MMOPT_MMCV_EXTENSION='torch': mmcv's compiled functions run")


def test_another_value_is_refused_with_the_one_there_is(config, monkeypatch):
    with pytest.raises(UserError, match="mmcv_extension='cuda': 'torch' is the only one"):
        read_config(config("mmcv_extension = 'cuda'\n"))
    monkeypatch.setenv(extension.VARIABLE, 'yes')
    with pytest.raises(UserError, match="MMOPT_MMCV_EXTENSION='yes': 'torch' is the only one"):
        read_config(config())


def test_a_compiled_extension_stays_and_the_line_says_that_the_switch_does_nothing(config, monkeypatch, capsys):
    monkeypatch.setattr(stand_in, 'install_extension', lambda: False)
    monkeypatch.setitem(sys.modules, 'mmcv._ext', sys)
    read_config(config("mmcv_extension = 'torch'\n"))
    assert 'has no effect' in capsys.readouterr().err


def test_the_key_is_kept_in_both_dialects():
    assert lower(make_config(mmcv_extension='torch'))['mmcv_extension'] == 'torch'
    native = dict(train_dataloader=dict(dataset=dict(type='Data')), mmcv_extension='torch')
    assert lower(native)['mmcv_extension'] == 'torch'
