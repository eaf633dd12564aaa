from typing import Any

import pytest

from mmopt.apis.config import load_config
from mmopt.config.options.spread import spread
from mmopt.config.schema import ConfigError
from tests.conftest import REPO

VIDEO = REPO / 'configs' / 'baseline' / 'video_transformer_driver.py'


def config(train: dict[str, Any], **others: dict[str, Any]) -> dict[str, Any]:
    return dict(data=dict(samples_per_gpu=2, train=train, **others))


def never(dataset: Any, name: str) -> bool:
    return False


@pytest.mark.parametrize(
    ('cfg', 'places'),
    [
        (config(dict(size=1), val=dict(size=1), test=dict(size=1)), ['train.size', 'val.size', 'test.size']),
        (config(dict(size=1), val=dict(size=1)), ['train.size', 'val.size']),
        (
            config(dict(type='Repeat', dataset=dict(size=1)), val=dict(size=1)),
            ['train.dataset.size', 'val.size'],
        ),
        (config(dict(size=1), val=dict(size=2)), ['size']),  # one for each: nobody can mean all of them
        (config(dict(size=1), val=dict(other=1)), ['size']),
        (config(dict(other=1)), ['size']),
        (dict(model=dict()), ['size']),
    ],
)
def test_an_option_goes_to_all_data_sets_where_all_have_the_same(cfg, places):
    assert spread(cfg, {'data.size': 9, 'lr': 1}, never) == {f'data.{place}': 9 for place in places} | {'lr': 1}


def test_a_part_of_an_argument_goes_along():
    cfg = config(dict(crop=dict(size=1)), val=dict(crop=dict(size=1)))
    assert spread(cfg, {'data.crop.size': 9}, never) == {'data.train.crop.size': 9, 'data.val.crop.size': 9}


def test_keys_of_the_section_stay_where_they_are():
    part = dict(samples_per_gpu=1, batch_size=1, pipeline=[dict(size=1)])
    cfg = config(part, val=dict(part))
    for key in (
        'data.samples_per_gpu',
        'data.batch_size',
        'data.train.samples_per_gpu',
        'data',
        'data.pipeline.0.size',
    ):
        assert spread(cfg, {key: 9}, never) == {key: 9}


@pytest.mark.parametrize(
    ('option', 'value'), [('img_size', 112), ('uniform_temporal_subsample_num', 8), ('max_video_frames', 500)]
)
def test_what_the_class_of_all_data_sets_takes_reaches_them_also_where_the_config_does_not_name_it(option, value):
    cfg = load_config(VIDEO, options=[f'data.{option}={value}'])
    for loader in ('train_dataloader', 'val_dataloader', 'test_dataloader'):
        assert cfg[loader].dataset[option] == value


def test_what_differs_between_the_data_sets_is_refused_with_the_places():
    with pytest.raises(ConfigError, match=r'write data\.train\.split_file=x data\.val\.split_file=x'):
        load_config(VIDEO, options=['data.split_file=x'])
