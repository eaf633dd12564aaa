import subprocess
import sys
import zipfile

import pytest
from mmengine.config import Config

from mmopt.apis.convert import report_configs
from mmopt.config import lower
from mmopt.config.render import render_value
from mmopt.utils.errors import UserError
from tests.config.samples import make_config

# Wheels that carry their configs, with the number of configs outside _base_.
PUBLISHED = {'mmsegmentation==0.30.0': 630, 'mmdet==2.28.2': 600, 'mmaction2==0.24.1': 200, 'mmpose==0.29.0': 400}


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


@pytest.mark.slow
@pytest.mark.parametrize('requirement', PUBLISHED)
def test_every_published_config_lowers_or_is_refused_with_a_reason(requirement, tmp_path):
    command = [sys.executable, '-m', 'pip', 'download', '-q', '--no-deps', '--only-binary', ':all:', requirement]
    subprocess.run([*command, '-d', str(tmp_path)], check=True)
    (wheel,) = tmp_path.glob('*.whl')
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path, [name for name in archive.namelist() if '/.mim/configs/' in name])
    (configs,) = tmp_path.glob('*/.mim/configs')
    verdicts = list(report_configs(configs))
    assert len(verdicts) > PUBLISHED[requirement]
    assert [str(verdict) for verdict in verdicts if verdict.kind not in ('ok', 'refused')] == []
    # Refusals are the exception: OmniSource, an inherited `step`, hooks of one library.
    assert sum(verdict.kind == 'refused' for verdict in verdicts) < 0.15 * len(verdicts)
