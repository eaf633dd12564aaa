"""Which models are augmented, what their configs have a say in, and what is refused."""

import pytest
from mmengine.config import Config

from mmopt.apis import Predictor, evaluate, load_config
from mmopt.apis.run.tta import apply_tta
from mmopt.utils.errors import UserError
from tests.apis.predict.trained import make_detector
from tests.conftest import REPO, forget_mmengine_globals


@pytest.fixture(scope='module')
def detector(tmp_path_factory):
    return make_detector(tmp_path_factory.mktemp('detector'))


def _demo(name: str) -> Config:
    return load_config(str(REPO / 'configs' / 'demo' / f'{name}.py'))


def test_a_model_gets_what_its_class_offers_and_the_config_stays():
    cfg = _demo('yolov5_fred_rgb')
    augmented = apply_tta(cfg)
    assert (augmented.model.eval_scales, augmented.model.eval_flip) == ((0.83, 1.0, 1.2), True)
    assert 'eval_flip' not in cfg.model
    assert apply_tta(_demo('lss_swin_nuscenes')).model.eval_flip


def test_what_the_config_says_holds():
    cfg = _demo('bisenetv2_cityscapes')
    cfg.model.eval_scales = (0.5, 1.0)
    assert apply_tta(cfg).model.eval_scales == (0.5, 1.0)


@pytest.mark.parametrize('name', ['tad_v7_mabe', 'tad_v6_mabe', 'video_conv3d_driver'])
def test_models_without_augmentation_say_why_in_one_line(name):
    with pytest.raises(UserError, match='--tta: .* has no test-time augmentation: .+') as caught:
        apply_tta(_demo(name))
    assert '\n' not in str(caught.value)


def test_models_of_openmmlab_bring_their_own():
    cfg = Config(
        dict(
            model=dict(type='Net'),
            tta_model=dict(type='NetTTAModel'),
            tta_pipeline=[dict(type='TestTimeAug')],
            test_dataloader=dict(dataset=dict(type='Repeat', dataset=dict(type='Set', pipeline=[dict(type='Load')]))),
        )
    )
    augmented = apply_tta(cfg)
    assert augmented.model == dict(type='NetTTAModel', module=dict(type='Net'))
    assert augmented.test_dataloader.dataset.dataset.pipeline == [dict(type='TestTimeAug')]
    with pytest.raises(UserError, match='its config has no tta_model and tta_pipeline'):
        apply_tta(Config(dict(model=dict(type='Identity'), default_scope='mmopt')))


def test_an_evaluation_and_a_prediction_are_augmented_as_the_options_say(detector, tmp_path):
    cfg = load_config(detector.config, options=detector.options, work_dir=str(tmp_path))
    plain = evaluate(apply_tta(cfg), detector.checkpoint)
    forget_mmengine_globals()
    chosen = ['model.eval_scales=(0.83,1.0,1.2)', 'model.eval_flip=True']
    cfg = load_config(detector.config, options=[*detector.options, *chosen], work_dir=str(tmp_path))
    assert evaluate(cfg, detector.checkpoint) == plain
    forget_mmengine_globals()
    pictures = detector.pictures[:1]
    (result,) = Predictor(detector.checkpoint, tta=True)(pictures)
    (other,) = Predictor(detector.config, detector.checkpoint, options=[*detector.options, *chosen])(pictures)
    assert result.boxes.tolist() == other.boxes.tolist()
    (without,) = Predictor(detector.checkpoint)(pictures)
    assert result.boxes.tolist() != without.boxes.tolist()
