import pytest
import torch
from mmengine.config import Config

from mmopt.apis.config import without_validation
from mmopt.apis.run.start import set_start
from mmopt.apis.run.train import train
from mmopt.config import lower
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
