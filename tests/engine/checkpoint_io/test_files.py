import os
import zipfile
from pathlib import Path

import pytest
import torch

from mmopt.engine.checkpoint_io import CorruptCheckpointError, load, save
from mmopt.utils.errors import UserError


def test_what_is_saved_comes_back_and_torch_reads_it_alone(tmp_path, state):
    save(tmp_path / 'a.pth', state())
    for content in (load(tmp_path / 'a.pth'), torch.load(tmp_path / 'a.pth', weights_only=True)):
        assert torch.equal(content['state_dict']['weight'], torch.arange(6.0).view(2, 3))
        assert content['optimizer']['param_groups'] == [dict(lr=0.1, params=[0])]
    assert load(tmp_path / 'a.pth')['iter'] == 20
    assert os.listdir(tmp_path) == ['a.pth']


def test_the_file_is_a_zip_archive_without_fault(tmp_path, state):
    save(tmp_path / 'a.pth', state())
    assert zipfile.ZipFile(tmp_path / 'a.pth').testzip() is None


@pytest.mark.parametrize('tenth', range(10))
def test_a_file_cut_at_any_tenth_is_detected(tmp_path, tenth, state):
    path = tmp_path / 'a.pth'
    save(path, state())
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * tenth // 10])
    with pytest.raises(CorruptCheckpointError, match=r'a\.pth: (cut off|the file is empty|cannot be read).*earlier'):
        load(path)


def test_a_file_cut_anywhere_in_its_last_bytes_is_detected(tmp_path, state):
    path = tmp_path / 'a.pth'
    save(path, state())
    content = path.read_bytes()
    for missing in range(1, 130):
        path.write_bytes(content[:-missing])
        with pytest.raises(CorruptCheckpointError):
            load(path)


def test_any_flipped_bit_is_detected(tmp_path, state):
    path = tmp_path / 'a.pth'
    save(path, state())
    content = path.read_bytes()
    for position in [*range(0, len(content), 37), *range(len(content) - 70, len(content))]:
        damaged = bytearray(content)
        damaged[position] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(CorruptCheckpointError):
            load(path)


def test_a_cut_checkpoint_of_another_library_is_detected(tmp_path, state):
    path = tmp_path / 'a.pth'
    torch.save(state(), path)
    content = path.read_bytes()
    assert load(path)['iter'] == 20
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(CorruptCheckpointError, match='a.pth'):
        load(path)


@pytest.mark.parametrize('content', [b'no checkpoint', b'<html>not found</html>', b'\x80\x02'])
def test_a_file_that_is_no_checkpoint_is_named(tmp_path, content):
    (tmp_path / 'a.pth').write_bytes(content)
    with pytest.raises(CorruptCheckpointError, match='a.pth: cannot be read'):
        load(tmp_path / 'a.pth')


def test_the_old_format_of_torch_still_loads(tmp_path, state):
    torch.save(state(), tmp_path / 'a.pth', _use_new_zipfile_serialization=False)
    assert load(tmp_path / 'a.pth')['state_dict']['bias'].tolist() == [1, 1]


# ---------------------------------------------------------------- addresses
def test_an_address_is_downloaded_once(tmp_path, monkeypatch, state):
    asked: list[str] = []

    def fetch(url: str, target: str, progress: bool) -> None:
        asked.append(url)
        save(Path(target), state())

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    for address in ('https://example.org/x/a.pth', Path('https://example.org/x/a.pth')):
        assert load(address)['iter'] == 20
    assert asked == ['https://example.org/x/a.pth']


def test_an_address_that_cannot_be_reached_is_one_message(tmp_path, monkeypatch):
    def fetch(*_args, **_options) -> None:
        raise OSError('Name or service not known')

    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path / 'hub'))
    monkeypatch.setattr(torch.hub, 'download_url_to_file', fetch)
    with pytest.raises(UserError, match=r'cannot be downloaded \(Name or .*put it at .*hub/checkpoints/a.pth'):
        load('http://example.org/a.pth')
