import pytest

from tests.apis.predict.trained import Trained, make_detector, make_fusion, make_segmentor


@pytest.fixture(scope='session')
def detector(tmp_path_factory) -> Trained:
    return make_detector(tmp_path_factory.mktemp('detector'))


@pytest.fixture(scope='session')
def segmentor(tmp_path_factory) -> Trained:
    return make_segmentor(tmp_path_factory.mktemp('segmentor'))


@pytest.fixture(scope='session')
def fusion(tmp_path_factory) -> Trained:
    return make_fusion(tmp_path_factory.mktemp('fusion'))
