"""How a run starts: the checkpoint that it begins with or goes on from, and what is refused before it."""

import hashlib

import pytest
import torch
from mmengine.config import Config

from mmopt.apis.config import without_validation
from mmopt.apis.run.start import check_hash, set_start
from mmopt.apis.run.train import preflight, train
from mmopt.config import lower
from mmopt.config.schema import ConfigError
from mmopt.engine import checkpoint_io
from mmopt.utils.errors import UserError
from tests.config.samples import make_config


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / 'pretrained.pth'
    torch.save(dict(weight=torch.zeros(1)), path)
    return path


def config(tmp_path, **changes) -> Config:
    return Config(lower(make_config(**changes)) | dict(work_dir=str(tmp_path / 'work')))


def test_auto_resume_in_a_config_with_weights_begins_with_them_and_later_goes_on(tmp_path, weights):
    cfg = config(tmp_path, auto_resume=True, load_from=str(weights))
    set_start(cfg)
    assert (cfg.load_from, cfg.resume) == (str(weights), False)
    newest = tmp_path / 'work' / 'iter_10.pth'
    checkpoint_io.save(newest, dict(meta=dict(iter=10, epoch=0), state_dict=dict(weight=torch.zeros(1))))
    checkpoint_io.write_pointer(newest.parent, newest.name)
    cfg = config(tmp_path, auto_resume=True, load_from=str(weights))
    set_start(cfg)
    assert (cfg.load_from, cfg.resume) == (str(newest), True)


def test_auto_resume_of_an_empty_work_dir_keeps_the_resume_from_of_the_config(tmp_path, weights):
    cfg = config(tmp_path, resume_from=str(weights))
    set_start(cfg, auto_resume=True)
    assert (cfg.load_from, cfg.resume) == (str(weights), True)


def test_an_address_is_no_missing_file(tmp_path):
    cfg = config(tmp_path)
    set_start(cfg, load_from='https://example.org/model.pth')
    assert cfg.load_from == 'https://example.org/model.pth'


def test_an_expectation_without_an_evaluation_is_refused_before_the_run(tmp_path):
    cfg = config(tmp_path, expect=dict(metric='mIoU', above=0.3))
    cfg.val_cfg = None
    with pytest.raises(UserError, match='expect needs an evaluation: add data.val'):
        train(cfg)


def test_no_validate_takes_the_expectations_away_too(tmp_path):
    cfg = config(tmp_path, expect=dict(metric='mIoU', above=0.3))
    without_validation(cfg)
    assert 'expect' not in cfg


def begins_with(weights, **changes):
    return config(weights.parent, load_from=str(weights), **changes)


def test_another_file_than_the_hash_of_the_config_says_is_refused_before_the_run(weights):
    cfg = begins_with(weights, load_from_sha256='0' * 64)
    with pytest.raises(UserError, match=r'pretrained.pth is not the file that was meant: its SHA-256 is [0-9a-f]{64}'):
        preflight(cfg)
    with pytest.raises(UserError, match='is not the file that was meant'):
        train(cfg)


def test_the_file_that_was_meant_passes_in_both_spellings_of_its_hash(weights):
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    for wanted in (digest, digest.upper()):
        check_hash(begins_with(weights, load_from_sha256=wanted))


def test_a_run_that_goes_on_is_not_held_to_the_hash_of_its_first_weights(weights):
    check_hash(config(weights.parent, resume_from=str(weights), load_from_sha256='0' * 64))


def test_a_hash_of_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match='there is no load_from: add it, or drop load_from_sha256'):
        check_hash(config(tmp_path, load_from_sha256='0' * 64))
    with pytest.raises(UserError, match='is an address, of which no SHA-256 is checked: download it'):
        check_hash(config(tmp_path, load_from='https://example.org/model.pth', load_from_sha256='0' * 64))


@pytest.mark.parametrize('value', ['0' * 8, 'g' * 64, 5])
def test_what_is_no_hash_is_refused_by_name(tmp_path, value):
    with pytest.raises(ConfigError, match='load_from_sha256.*a SHA-256 of 64 hexadecimal digits'):
        config(tmp_path, load_from_sha256=value)
