import copy

import pytest

from mmopt.config import ConfigError, apply_options, lower, parse_options, replace_data_root
from mmopt.config.keys import NATIVE
from mmopt.config.options.merge import ROOTS
from tests.config.samples import make_config


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('1', 1),
        ('1e-4', 1e-4),
        ('-2.5', -2.5),
        ('True', True),
        ('false', False),
        ('None', None),
        ('none', 'none'),
        ('AdamW', 'AdamW'),
        ('', ''),
        ('a,b', ['a', 'b']),
        ('1,2,3', [1, 2, 3]),
        ('[1,2]', [1, 2]),
        ('[5]', [5]),
        ('[]', []),
        ('(1,2)', (1, 2)),
        ('(1,)', (1,)),
        ('[(1,2),[a,b],c]', [(1, 2), ['a', 'b'], 'c']),
        ('(1,2),(3,4)', [(1, 2), (3, 4)]),
        ('[1, 2, [3]]', [1, 2, [3]]),
        ('"a,b"', 'a,b'),
        ("'512'", '512'),
        ('["a,b",c]', ['a,b', 'c']),
        ('"[(1,2),3]"', [(1, 2), 3]),
        ("{'a': 1}", {'a': 1}),
        ('runs/a=b.pth', 'runs/a=b.pth'),
        ("it's", "it's"),
        ('hello world', 'hello world'),
    ],
)
def test_values_by_hand(text, value):
    parsed = parse_options([f'key={text}'])['key']
    assert parsed == value
    assert type(parsed) is type(value)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('runner.max_iters', 'write key=value without spaces'),
        ('=3', 'the key is empty'),
        ('a..b=3', 'has an empty part'),
        ('a=[1,2', "'a=\\[1,2': unbalanced brackets"),
        ('a=(1,2]', 'unbalanced brackets'),
        ('a="b,c', 'unbalanced quotes'),
        ('a={b: 1}', 'is no Python dict'),
    ],
)
def test_what_cannot_be_read_is_named(option, message):
    with pytest.raises(ConfigError, match=message):
        parse_options([option])


def make() -> dict:
    pipeline = [dict(type='Load'), dict(type='Resize', scale=(8, 8))]
    return make_config(data=dict(train=dict(pipeline=pipeline)))


def test_options_set_values_deep_inside_and_change_nothing_else():
    cfg = make()
    before = copy.deepcopy(cfg)
    changed = apply_options(
        cfg,
        [
            'runner.max_iters=300',
            'data.train.pipeline.1.scale=(16,16)',
            'data.train.pipeline.-2.to_float=True',
            'optimizer_config.grad_clip.max_norm=1',
            'fp16.loss_scale=512.',
            'model.backbone.depth=50',
        ],
    )
    assert cfg == before
    before['runner']['max_iters'] = 300
    before['data']['train']['pipeline'] = [dict(type='Load', to_float=True), dict(type='Resize', scale=(16, 16))]
    before['optimizer_config']['grad_clip'] = dict(max_norm=1)
    before['fp16'] = dict(loss_scale=512.0)
    before['model']['backbone'] = dict(depth=50)
    assert changed == before


def test_a_value_of_none_becomes_a_section():
    cfg = make()
    cfg['optimizer_config'] = dict(grad_clip=None)
    assert apply_options(cfg, ['optimizer_config.grad_clip.max_norm=2'])['optimizer_config'] == dict(
        grad_clip=dict(max_norm=2)
    )


def test_a_later_option_wins():
    assert apply_options(make(), ['seed=1', 'seed=2'])['seed'] == 2


def test_delete_replaces_a_section():
    changed = apply_options(make(), ['optimizer._delete_=True', 'optimizer.type=SGD', 'optimizer.lr=0.1'])
    assert changed['optimizer'] == dict(type='SGD', lr=0.1)


def test_a_list_keeps_its_type():
    cfg = make()
    cfg['pair'] = (1, 2)
    assert apply_options(cfg, ['pair.0=5'])['pair'] == (5, 2)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('runner.max_iters.x=1', r'runner.max_iters is 100, nothing lies inside it'),
        ('data.train.pipeline.9.x=1', 'data.train.pipeline has 2 entries, the last is 1'),
        ('data.train.pipeline.Resize.x=1', r'is a list of 2; write an index, e.g. data.train.pipeline.0.Resize='),
        ('data.trian.type=X', r'there is no data.trian; did you mean train\?'),
        ('optimzer.lr=1', r'there is no optimzer; did you mean optimizer\?'),
    ],
)
def test_a_path_into_nothing_is_named(option, message):
    with pytest.raises(ConfigError, match=message):
        apply_options(make(), [option])


def test_two_options_that_contradict_each_other_are_named():
    with pytest.raises(ConfigError, match="another option sets 'fp16' to the plain value 3"):
        apply_options(make(), ['fp16=3', 'fp16.loss_scale=1.'])


# --- data root --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize('option', ['data.data_root=demo', 'data_root=demo'])
def test_the_data_root_is_replaced_in_train_val_and_test(option):
    cfg = make_config()
    cfg['data_root'] = 'data/x/'
    cfg['data']['train'] = dict(
        type='RepeatDataset',
        times=2,
        dataset=dict(type='ConcatDataset', datasets=[dict(type='Data', data_root='data/x/')]),
    )
    cfg['data']['val'] = [dict(type='Data', data_root='data/x'), dict(type='Data', data_root='other')]
    cfg['data']['test'] = dict(type='Coco', ann_file='data/x/a.json', img_prefix='data/xy/img', prefix=['data/x/b'])
    changed = apply_options(cfg, [option])
    data = changed['data']
    assert data['train']['dataset']['datasets'] == [dict(type='Data', data_root='demo')]
    assert [part['data_root'] for part in data['val']] == ['demo', 'demo']
    assert data['test'] == dict(type='Coco', ann_file='demo/a.json', img_prefix='data/xy/img', prefix=['demo/b'])
    assert changed['data_root'] == 'demo'
    assert 'data_root' not in data


def test_the_data_root_of_a_native_config_is_replaced():
    native = dict(train_dataloader=dict(dataset=dict(type='D', data_root='a', data_prefix=dict(img='a/img'))))
    dataset = apply_options(native, ['data_root=b'])['train_dataloader']['dataset']
    assert dataset == dict(type='D', data_root='b', data_prefix=dict(img='b/img'))


def test_a_data_root_in_the_data_section_of_a_config_counts():
    lowered = lower(make_config(data=dict(data_root='demo')))
    assert {lowered[f'{split}_dataloader']['dataset']['data_root'] for split in ('train', 'val', 'test')} == {'demo'}


def test_a_data_root_without_effect_is_refused():
    cfg = make_config(data=dict(train=dict(type='D'), val=None, test=None))
    with pytest.raises(ConfigError, match="data.data_root='demo' had no effect"):
        replace_data_root(cfg, 'demo')


def test_two_data_roots_are_refused():
    with pytest.raises(ConfigError, match='two data roots'):
        apply_options(make(), ['data.data_root=a', 'data_root=b'])


@pytest.mark.parametrize('root', ['{}', '[1]', 'None'])
def test_a_data_root_that_is_no_path_is_refused(root):
    with pytest.raises(ConfigError, match=r'--options data.data_root=.*: a data root is the path of a folder'):
        apply_options(make_config(), [f'data.data_root={root}'])


def test_every_section_of_mmengine_may_be_begun_by_an_option():
    native = dict(train_dataloader=dict(dataset=dict(type='A')), train_cfg=dict(max_epochs=1), optim_wrapper=dict())
    for name in set(NATIVE) - set(ROOTS):
        assert apply_options(native, [f"{name}={{'a': 1}}"])[name]['a'] == 1
    with pytest.raises(ConfigError, match='there is no model_wrapper_cg; did you mean model_wrapper'):
        apply_options(native, ["model_wrapper_cg={'a': 1}"])
