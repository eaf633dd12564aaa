import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from mmengine.config import Config

from mmopt.apis.convert import report_configs
from mmopt.config import lower
from mmopt.config.render import render_value
from mmopt.utils.errors import UserError
from tests.config.samples import make_config
from tests.conftest import REPO

# Wheels that carry their configs, with the number of configs outside _base_.
PUBLISHED = {'mmsegmentation==0.30.0': 630, 'mmdet==2.28.2': 600, 'mmaction2==0.24.1': 200, 'mmpose==0.29.0': 400}
# Wheels of MMEngine's libraries, and what becomes of their configs outside _base_; the rest cannot be read.
NATIVE = {
    'mmsegmentation==1.2.2': dict(native=681),
    'mmdet==3.3.0': dict(native=807, part=7, needs=5, unreadable=4),
    'mmpretrain==1.2.0': dict(native=512, part=17, needs=6, unreadable=2, refused=1),
    'mmpose==1.3.2': dict(native=406, needs=2),
    'mmaction2==1.2.0': dict(native=213, part=2),
    'mmocr==1.0.1': dict(native=52, needs=5, unreadable=1),
    'mmrotate==1.0.0rc1': dict(native=99, unreadable=1),
}
KINDS = ('native', 'part', 'needs', 'refused', 'unreadable')


def write(path, cfg: dict) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(''.join(f'{key} = {render_value(value)}\n' for key, value in cfg.items()))
    return str(path)


def test_a_converted_file_is_the_lowered_config(tool, tmp_path, capsys):
    old = write(tmp_path / 'old.py', make_config(custom_imports=dict(imports=['not_installed'])))
    new = tmp_path / 'deep' / 'new.py'
    assert tool('convert_config').main([old, '--out', str(new)]) == 0
    assert f'wrote {new}' in capsys.readouterr().out
    converted = Config.fromfile(new, import_custom_modules=False).to_dict()
    assert converted == lower(make_config(custom_imports=dict(imports=['not_installed'])))


def test_without_out_it_is_printed(tool, tmp_path, capsys):
    tool('convert_config').main([write(tmp_path / 'old.py', make_config())])
    assert capsys.readouterr().out.startswith('# old.py, an MMCV-1.x config')


def test_a_report_has_one_line_per_config(tool, tmp_path, capsys):
    write(tmp_path / 'a' / 'good.py', make_config())
    write(tmp_path / 'a' / 'native.py', lower(make_config()))
    write(tmp_path / 'b' / 'wrong.py', make_config(fp16=dict(loss_scale=512)))
    write(tmp_path / '_base_' / 'part.py', dict(optimizer=dict()))
    (tmp_path / 'broken.py').write_text('a = (')
    assert tool('convert_config').main(['--report', str(tmp_path)]) == 0
    *lines, summary = capsys.readouterr().out.splitlines()
    assert lines[0] == 'ok         a/good.py'
    assert lines[1] == 'native     a/native.py'
    assert lines[2].startswith('refused    b/wrong.py: fp16.loss_scale must be a float')
    assert lines[3].startswith('unreadable broken.py: ')
    assert len(lines) == 4
    assert summary == '4 configs: 1 ok, 1 native, 1 refused, 1 unreadable'


def test_a_crash_is_told_apart_from_a_refusal(tool, tmp_path, capsys, monkeypatch):
    write(tmp_path / 'good.py', make_config())
    monkeypatch.setattr('mmopt.apis.convert.lower', lambda cfg: cfg['nothing'])
    assert tool('convert_config').main(['--report', str(tmp_path)]) == 1
    assert "bug        good.py: KeyError: 'nothing'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ('make', 'message'),
    [
        (lambda path: [str(path / 'none.py')], 'does not exist'),
        (lambda path: [write(path / 'n.py', lower(make_config()))], 'is a native MMEngine config already'),
        (
            lambda path: [write(path / 'w.py', make_config(runner=None))],
            'w.py: The config has an optimizer but no length',
        ),
        (lambda path: ['--report', str(path / 'none')], 'there is no such folder'),
        (lambda path: ['--report', str(path)], 'no config'),
    ],
)
def test_what_cannot_be_converted_is_named(tool, tmp_path, make, message):
    arguments = make(tmp_path)
    with pytest.raises(UserError, match=message):
        tool('convert_config').main(arguments)


@pytest.mark.parametrize('arguments', [[], ['a.py', '--report', 'b'], ['--report', 'b', '--out', 'c']])
def test_flags_that_do_not_go_together_are_refused(tool, arguments):
    with pytest.raises(SystemExit):
        tool('convert_config').main(arguments)


def test_a_part_and_a_missing_package_are_told_from_configs(tool, tmp_path, capsys):
    write(tmp_path / 'model.py', dict(model=dict(type='Net')))
    write(tmp_path / '_base_net.py', dict(model=dict(type='Net')))
    (tmp_path / 'far.py').write_text("_base_ = 'mmdet::_base_/default_runtime.py'")
    (tmp_path / 'near.py').write_text('import no_such_package\nmodel = dict(depth=no_such_package.DEPTH)')
    tool('convert_config').main(['--report', str(tmp_path)])
    assert capsys.readouterr().out.splitlines() == [
        'needs      far.py: mmdet',
        'part       model.py',
        'needs      near.py: no_such_package',
        '3 configs: 2 needs, 1 part',
    ]


def test_a_native_config_must_lower_as_well(tmp_path):
    write(tmp_path / 'slip.py', lower(make_config()) | dict(optimize=dict(micro_bach=2)))
    (verdict,) = report_configs(tmp_path)
    assert (verdict.kind, verdict.reason) == ('refused', 'optimize.micro_bach is unknown; did you mean micro_batch?')


def configs_of(requirement: str, folder) -> Path:
    """Download a wheel and return the folder of its configs."""
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--only-binary', ':all:', requirement]
    subprocess.run([*command, '-d', str(folder)], check=True)
    (wheel,) = folder.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder, [name for name in archive.namelist() if '/.mim/configs/' in name])
    (configs,) = folder.glob('*/.mim/configs')
    return configs


@pytest.mark.slow
@pytest.mark.parametrize('requirement', PUBLISHED)
def test_every_published_config_lowers_or_is_refused_with_a_reason(requirement, tmp_path):
    verdicts = list(report_configs(configs_of(requirement, tmp_path)))
    assert len(verdicts) > PUBLISHED[requirement]
    assert [str(verdict) for verdict in verdicts if verdict.kind not in ('ok', 'part', 'refused')] == []
    # Refusals are the exception: OmniSource, an inherited `step`, hooks of one library.
    assert sum(verdict.kind == 'refused' for verdict in verdicts) < 0.15 * len(verdicts)


@pytest.mark.slow
@pytest.mark.parametrize('requirement', NATIVE)
def test_every_config_of_mmengines_libraries_is_taken_or_the_reason_is_true(requirement, tmp_path):
    verdicts = list(report_configs(configs_of(requirement, tmp_path)))
    assert Counter(verdict.kind for verdict in verdicts) == NATIVE[requirement]
    assert all(verdict.reason for verdict in verdicts if verdict.kind not in ('native', 'part'))
    for verdict in verdicts:
        if verdict.kind == 'unreadable':  # MMEngine cannot read it either
            with pytest.raises((OSError, KeyError, AttributeError)):
                Config.fromfile(next(tmp_path.glob('*/.mim/configs')) / verdict.path, import_custom_modules=False)


@pytest.mark.parametrize('requirement', NATIVE)
def test_the_page_has_the_counts(requirement):
    page = (REPO / 'docs' / 'mmengine_projects.md').read_text()
    counts = NATIVE[requirement]
    name = requirement.replace('==', ' ')
    row = ' | '.join([name, str(sum(counts.values())), *(str(counts.get(kind, 0)) for kind in KINDS)])
    assert f'| {row} |' in page
