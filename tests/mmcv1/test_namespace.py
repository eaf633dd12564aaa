"""What `import mmcv...` finds while the layer is on."""

import collections.abc
import importlib
import importlib.metadata
import sys
from pathlib import Path

import pytest
import torch

from mmopt.mmcv1 import install as install_module
from mmopt.mmcv1.namespace import declared_range, version_for
from mmopt.utils.errors import UserError
from tests.mmcv1.layer import TINY, install_tiny, run


def _resolve_all_names() -> None:
    import pkgutil

    from mmopt.mmcv1.install import install
    from mmopt.mmcv1.namespace.tables import _PACKAGES, PATCHED, TABLES

    install()
    for table in TABLES.values():
        for target in table.values():
            module, _, name = target.partition(':')
            assert hasattr(importlib.import_module(module), name), target
    for name in _PACKAGES:
        module = importlib.import_module(name)
        assert importlib.util.find_spec(name) is not None, name
        assert module.__spec__.name == name
        list(pkgutil.iter_modules(module.__path__))
    for name in PATCHED:
        assert importlib.import_module(name).__spec__.origin != 'mmopt.mmcv1', name


def test_every_name_of_the_tables_is_there_and_every_module_has_a_spec(tmp_path):
    run(tmp_path, _resolve_all_names)


def _ask_for_unknown_names() -> None:
    from mmopt.mmcv1.install import install

    install()
    import mmcv.runner
    import mmcv.some.thing as unknown_module
    from mmcv.runner import NoSuchThing
    from mmcv.tensorrt import onnx2trt

    class Derived(NoSuchThing):
        pass

    for use in (NoSuchThing, Derived, lambda: onnx2trt(1), lambda: unknown_module.call()):
        with pytest.raises(UserError, match=r'of mmcv 1\.x is not available: asked for by .*test_namespace\.py:\d+'):
            use()
    assert not hasattr(mmcv.runner, 'NoSuchThing2')
    assert getattr(mmcv.runner, 'NoSuchThing2', None) is None
    try:
        from mmcv.runner import NoSuchThing3
    except ImportError:
        NoSuchThing3 = None
    assert NoSuchThing3 is None
    try:
        import mmcv.other.thing
    except ImportError:
        print('guarded')


def test_an_unknown_name_can_be_imported_and_fails_at_the_use_and_where_it_is_guarded(tmp_path):
    assert 'guarded' in run(tmp_path, _ask_for_unknown_names)


def _use_names_of_all_kinds() -> None:
    install_tiny()
    import mmcv
    import tinynet.models
    from mmcv.cnn.bricks.registry import PLUGIN_LAYERS
    from mmengine.registry import MODELS as MMENGINE_MODELS

    import mmopt.models  # noqa: F401
    from mmopt.mmcv1.namespace.unknown import unknown_names
    from mmopt.registry import MODELS

    assert mmcv.__version__ == '1.5.3'  # the newest in the package's range
    assert mmcv.version_info == (1, 5, 3)
    assert mmcv.is_str('x')
    assert mmcv.Config is mmcv.utils.config.Config
    assert mmcv.runner.base_module.BaseModule is mmcv.runner.BaseModule
    assert list(unknown_names) == ['mmcv.onnx.register_extra_symbolics']
    # Layers go where mmcv 2's builders look; models stay with their package, also where mmopt has the name.
    assert PLUGIN_LAYERS.get('TinyPlugin') is MMENGINE_MODELS.get('TinyPlugin') is tinynet.models.TinyPlugin
    assert tinynet.models.MODELS.get('CrossEntropyLoss') is tinynet.models.CrossEntropyLoss
    assert MODELS.get('CrossEntropyLoss') is not tinynet.models.CrossEntropyLoss
    assert mmcv.cnn.MODELS.get('tinynet.TinyGAN') is tinynet.models.TinyGAN


def test_a_package_of_that_time_finds_its_names_version_and_registries(tmp_path):
    run(tmp_path, _use_names_of_all_kinds)


def _use_old_numpy_names() -> None:
    import numpy as np

    from mmopt.mmcv1.install import install

    install()
    assert np.int is int
    assert collections.Mapping is collections.abc.Mapping  # as until Python 3.9
    torch.meshgrid(torch.arange(2), torch.arange(2))
    assert np.float_ is np.float64
    assert np.array([1.5]).astype(np.object).dtype == object
    with pytest.raises(AttributeError, match='no attribute'):
        _ = np.no_such_name


def test_old_names_are_there_and_said_once(tmp_path):
    text = run(tmp_path, _use_old_numpy_names)
    assert text.count("NumPy's other old names") == 1
    assert 'meshgrid' not in text  # torch warns of how that time called it


@pytest.mark.parametrize(
    ('bounds', 'version'),
    [
        (None, '1.7.1'),
        (('1.3.13', '1.8.0'), '1.7.1'),
        (('1.1.4', '1.3.0'), '1.2.7'),
        (('1.3.8', '1.4.0'), '1.3.18'),
        (('1.3.0', '1.3.0'), '1.3.0'),
        (('1.3.6', '1.7.0'), '1.6.2'),
    ],
)
def test_the_reported_version_is_the_newest_in_the_range_of_the_package(bounds, version):
    assert version_for(bounds) == version


def test_a_package_says_its_range_in_either_spelling_without_being_run(tmp_path):
    assert declared_range(TINY / 'tinynet/__init__.py') == ('1.3.13', '1.6.0')
    other = tmp_path / '__init__.py'
    other.write_text("raise SystemExit\nmmcv_minimum_version = '1.3.17'\nmmcv_maximum_version = '1.5.0'\n")
    assert declared_range(other) == ('1.3.17', '1.5.0')
    other.write_text('import mmcv\n')
    assert declared_range(other) is None


def test_mmcv_1_itself_is_refused(monkeypatch):
    class Old:
        version = '1.7.2'

    def distribution(name):
        if name == 'mmcv-full':
            return Old
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(install_module, 'distribution', distribution)
    before = list(sys.meta_path)
    with pytest.raises(
        UserError, match=r'^mmcv-full 1\.7\.2 is installed: .* pip uninstall mmcv-full, then pip install'
    ):
        install_module.install()
    assert sys.meta_path == before


def _ask_for_version_2() -> None:
    from mmopt.mmcv1.install import install

    with pytest.raises(UserError, match=r"mmcv1\.version='2\.0\.0': the layer stands for mmcv 1\.x"):
        install(version='2.0.0')
    assert install(version='1.3.0') == '1.3.0'
    assert install('tinynet') == '1.7.1'  # not on the path, so nothing is known of it


def test_the_version_can_be_chosen_among_those_of_1(tmp_path):
    run(tmp_path, _ask_for_version_2)


def test_the_small_repository_has_no_line_of_mmopt():
    for path in Path(TINY).rglob('*.py'):
        code = [line for line in path.read_text().splitlines() if 'import' in line]
        assert not any('mmopt' in line for line in code), path
