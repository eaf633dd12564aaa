import hashlib
from pathlib import Path

import pytest
import torch
from torch import nn

from mmopt.apis.export.publish import publish_model
from mmopt.engine.checkpoint_io import load, load_weights, save
from mmopt.utils.errors import UserError
from tests.conftest import load_script


@pytest.fixture
def checkpoint(tmp_path) -> Path:
    model = nn.Sequential(nn.Linear(30, 40), nn.BatchNorm1d(40))
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.randn(4, 30)).sum().backward()
    optimizer.step()
    meta = dict(mmopt_version='0', iter=20, epoch=1, cfg='secret path', dataset_meta=dict(classes=('road', 'car')))
    path = tmp_path / 'best_mIoU.pth'
    save(path, dict(meta=meta, state_dict=model.state_dict(), optimizer=optimizer.state_dict()))
    return path


@pytest.mark.parametrize('suffix', ['.pth', '.safetensors'])
def test_weights_and_classes_are_left_and_nothing_else(tmp_path, checkpoint, suffix):
    published = publish_model(checkpoint, tmp_path / 'out' / f'model{suffix}')
    assert published.name == f'model-{hashlib.sha256(published.read_bytes()).hexdigest()[:8]}{suffix}'
    assert published.stat().st_size < checkpoint.stat().st_size / 2
    loaded = load(published)
    assert loaded['optimizer'] is None
    assert (loaded['iter'], loaded['source_format']) == (20, 'mmopt')
    assert loaded['meta']['dataset_meta'] == dict(classes=['road', 'car'])
    assert b'secret' not in published.read_bytes()
    model = nn.Sequential(nn.Linear(30, 40), nn.BatchNorm1d(40))
    assert load_weights(model, published, strict=True).complete
    for name, value in load(checkpoint)['state_dict'].items():
        assert torch.equal(model.state_dict()[name], value)
    assert [path.name for path in (tmp_path / 'out').iterdir()] == [published.name]


def test_the_same_weights_have_the_same_name(tmp_path, checkpoint):
    names = {publish_model(checkpoint, tmp_path / folder / 'a.pth').name for folder in ('one', 'two')}
    assert len(names) == 1


def test_another_suffix_is_refused(tmp_path, checkpoint):
    with pytest.raises(UserError, match=r'--out .*a.onnx: the suffix says the format.*\.pth, \.safetensors'):
        publish_model(checkpoint, tmp_path / 'a.onnx')


def test_a_folder_that_cannot_be_written_is_one_message(tmp_path, checkpoint):
    (tmp_path / 'file').write_text('')
    for suffix in ('.pth', '.safetensors'):
        with pytest.raises(UserError, match='not written'):
            publish_model(checkpoint, tmp_path / 'file' / f'a{suffix}')


def test_the_tool_prints_what_it_made(tmp_path, checkpoint, capsys):
    load_script('tools/publish_model.py').main([str(checkpoint), '--out', str(tmp_path / 'a.pth')])
    assert 'a-' in capsys.readouterr().out
