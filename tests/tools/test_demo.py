"""tools/demo.py, as a user calls it."""

from types import SimpleNamespace

import pytest

from mmopt.utils.errors import UserError


@pytest.fixture
def demo(tool, monkeypatch):
    """The tool, whose helpers note what they are called with."""
    module, calls = tool('demo'), []
    monkeypatch.setattr(module, 'main_of', lambda name: lambda argv: calls.append((name, *argv)))
    return SimpleNamespace(main=module.main, calls=calls, main_of=tool('demo').main_of)


@pytest.mark.parametrize(
    ('argv', 'name', 'config', 'flags'),
    [
        ([], 'fred', 'yolov5_fred_rgb', []),
        (['mabe'], 'mabe', 'tad_v7_mabe', []),
        (['--options', 'runner.max_epochs=1', '--overwrite'], 'fred', 'yolov5_fred_rgb', None),
        (['nuscenes', '--precision', 'bf16', '--dry-run'], 'nuscenes', 'lss_swin_nuscenes', None),
    ],
)
def test_it_makes_the_data_and_trains_with_the_flags(demo, argv, name, config, flags):
    demo.main(argv)
    flags = argv[argv[:1] == [name] :] if flags is None else flags
    assert demo.calls == [('make_demo', name), ('train', f'configs/demo/{config}.py', *flags)]


def test_an_unknown_demo_is_refused_before_anything_is_made(demo):
    with pytest.raises(UserError, match="unknown demo 'waymo'; known: "):
        demo.main(['waymo', '--overwrite'])
    assert demo.calls == []


def test_it_calls_the_tools_themselves(demo):
    with pytest.raises(UserError, match='unknown demo'):
        demo.main_of('make_demo')(['waymo'])
