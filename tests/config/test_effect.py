"""What is said takes effect: an option that changes nothing is refused with the key that does, or warns."""

import warnings
from pathlib import Path

import pytest

from mmopt.apis.config import load_config
from mmopt.config import ConfigError, lower
from mmopt.config.keys import NATIVE, POLICIES, SECTIONS, TOP_LEVEL
from mmopt.config.words.foreign import FOREIGN, FOREIGN_SECTIONS, word_of
from mmopt.utils.errors import ConfigWarning
from tests.config.samples import make_config

DIALECT = """_base_ = './base.py'
lr = 1e-3
num_classes = 19
max_iters = 8
total_epoch = 3
unused = 1
data = dict(samples_per_gpu=4, workers_per_gpu=0, train=dict(type='ToyDataset', size={{_base_.img_size}}))
model = dict(type='ToyModel', head=dict(num_classes=num_classes))
optimizer = dict(type='SGD', lr=lr)
lr_config = dict(policy='fixed')
runner = dict(type='IterBasedRunner', max_iters=max_iters)
"""
BASE = """img_size = 256
train_pipeline = [dict(type='Resize', size=img_size), dict(type='PackInputs')]
data = dict(train=dict(pipeline=train_pipeline), val=dict(type='ToyDataset', pipeline=train_pipeline))
"""
NATIVE_TEXT = """batch = 4
lr = 0.1
pipeline = [dict(type='Resize', size=(8, 8))]
optimizer = dict(type='SGD', lr=lr)
optim_wrapper = dict(type='OptimWrapper', optimizer=optimizer)
train_cfg = dict(type='IterBasedTrainLoop', max_iters=8)
train_dataloader = dict(batch_size=batch, dataset=dict(type='ToyDataset', pipeline=pipeline))
model = dict(type='ToyModel', num_classes=3)
"""
LAZY = NATIVE_TEXT.replace("'OptimWrapper'", 'OptimWrapper').replace(
    'batch = 4', 'from mmengine.optim import OptimWrapper\nbatch = 4'
)


@pytest.fixture(scope='module')
def configs(tmp_path_factory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp('configs')
    texts = dict(base=BASE, dialect=DIALECT, native=NATIVE_TEXT, lazy=LAZY)
    for name, text in texts.items():
        (folder / f'{name}.py').write_text(text)
    return {name: folder / f'{name}.py' for name in texts}


def load(path: Path, *options: str) -> dict:
    """Load a config whose variable `total_epoch` warns of itself, which is not what is looked at."""
    with warnings.catch_warnings():
        warnings.filterwarnings('ignore', message='.*called almost like sections')
        return load_config(path, options=options).to_dict()


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        # a variable that was used before
        ('lr=1e-5', r'lr is a variable of the file, .* went into optimizer.lr when .*; write optimizer.lr=1e-05\.$'),
        ('num_classes=3', r'write model\.head\.num_classes=3\.$'),
        ('max_iters=3', r'write runner\.max_iters=3\.$'),
        ('train_pipeline.0.size=384', r'write data.train.pipeline.0.size=384 data.val.pipeline.0.size=384\.$'),
        ('train_pipeline=[]', r"write data.train.pipeline='\[\]' data.val.pipeline='\[\]'\.$"),
        ('img_size=384', r'data.train.size=384'),
        # near a key
        ('load_form=x.pth', r'there is no load_form; did you mean load_from\?'),
        ('optimizr.lr=1', r'did you mean optimizer\?'),
        ('workdir=x', r'did you mean work_dir\?'),
        ('total_epoch=5', r'total_epoch is a variable of the file; did you mean total_epochs\?'),
        # a key of a section
        ('samples_per_gpu=2', r'has no effect at the top level; write data.samples_per_gpu=2\.$'),
        ('weight_decay=0.1', r'write optimizer.weight_decay=0.1\.$'),
        ('interval=3', r'write evaluation.interval=3 or checkpoint_config.interval=3 or log_config.interval=3\.$'),
        ('size=3', r'the config has data.train.pipeline.0.size, .*: write data.train.pipeline.0.size=3'),
        # another framework's word
        ('trainer.precision=16', r'a word of Lightning; write --precision fp16, bf16 or fp32'),
        ('accumulate_grad_batches=4', r'a word of Lightning; write runner.accumulative_counts=4'),
        ('FP16=True', r'write --precision fp16'),
        ('use_fp16=True', r'write --precision fp16'),
        ('ims_per_gpu=64', r'write data.samples_per_gpu=64'),
        ('gradient_accumulation_steps=2', r'a word of Hugging Face; write runner.accumulative_counts=2'),
        ('mixed_precision=true', r'a word of Hugging Face; write --precision'),
        ('SOLVER.BASE_LR=0.1', r'a word of Detectron2; write optimizer.lr=0.1'),
        ('train.epochs=3', r'write runner.max_epochs=3'),
        ('epochs=3', r'a word of Ultralytics; write runner.max_epochs=3'),
        ('trainer.unheard=3', r'a word of Lightning; write the key into a section of this config'),
        ('data.num_epochs=3', r'data.num_epochs is a word of other code; write runner.max_epochs=3'),
        # the other dialect's
        ('train_dataloader.batch_size=3', r'is MMEngine wording, .*: write data.samples_per_gpu=3'),
        ('optim_wrapper.optimizer.lr=3', r'write optimizer.lr=3'),
        ('resume=True', r'is no key of MMCV 1.x: write --resume-from FILE or --auto-resume'),
        ('param_scheduler.0.gamma=3', r'write the key of MMCV 1.x'),
        # written too high
        ('data.size=1', r'data has no size, but data.train.size, data.train.pipeline.0.size, .* are there'),
        ('data.pipeline.0.size=1', r'no pipeline, but data.train.pipeline.0.size, data.val.pipeline.0.size are there'),
    ],
)
def test_an_option_that_changes_nothing_is_refused_with_the_key_that_does(configs, option, message):
    with pytest.raises(ConfigError, match=message) as caught:
        load(configs['dialect'], option)
    assert option.partition('=')[0] in str(caught.value)


@pytest.mark.parametrize(
    ('options', 'place', 'value'),
    [
        (['data.train.pipeline.0.size=384'], 'train_dataloader.dataset.pipeline.0.size', 384),
        (['lr=1e-5', 'optimizer.lr=1e-5'], 'optim_wrapper.optimizer.lr', 1e-5),
        (['lr=1e-3'], 'optim_wrapper.optimizer.lr', 1e-3),
        (['train_pipeline.0.size=256'], 'train_dataloader.dataset.pipeline.0.size', 256),
        (['data.samples_per_gpu=4'], 'train_dataloader.batch_size', 4),
        (['data.pin_memory=True'], 'train_dataloader.pin_memory', True),
        (['optimize.max_workers=64'], 'train_dataloader.num_workers', 0),
        (['fp16.loss_scale=512.', 'precision=fp16'], 'optim_wrapper.loss_scale', 512.0),
        (['runner.type=EpochBasedRunner', 'runner.max_epochs=3', 'runner.max_iters=None'], 'train_cfg.max_epochs', 3),
        (['optimizer=dict(lr=0.5)'], 'optim_wrapper.optimizer.lr', 0.5),
        (['keep_global_batch=False'], 'keep_global_batch', False),
    ],
)
def test_an_option_with_effect_or_that_repeats_what_is_there_is_silent(configs, options, place, value):
    with warnings.catch_warnings():
        warnings.filterwarnings('error', category=ConfigWarning)
        found = load(configs['dialect'], *options)
    for part in place.split('.'):
        found = found[int(part)] if isinstance(found, list) else found[part]
    assert found == value


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (
            ['data.train_dataloader.samples_per_gpu=2', 'data.samples_per_gpu=8'],
            'data.train_dataloader.samples_per_gpu=2',
        ),
        (['fp16.loss_scale=64.', 'precision=bf16'], 'precision=bf16'),
        (['load_from=a.pth', 'resume_from=b.pth'], 'resume_from=b.pth'),
        (['total_epochs=3'], 'runner='),
    ],
)
def test_an_option_that_another_key_goes_before_is_refused(configs, options, message):
    with pytest.raises(ConfigError, match=rf'has no effect: {message}.* goes before it; set that one, or take it back'):
        load(configs['dialect'], *options)


@pytest.mark.parametrize(
    ('option', 'message'),
    [
        (
            'my_flag=1',
            r'--options my_flag=1 sets a name that the config does not have; only code of your own may read it',
        ),
        ('notes.text=x', r'--options notes.text=x sets a name'),
        ('unused=2', r'--options unused=2 sets a variable that nothing of the config is made of'),
        ('workflow=[(train,1)]', r'has no effect: every phase trains'),
        ('dist_params.init_method=x', r'has no effect: the launcher tells'),
        ('data.prefetch_factor=4', r'data.prefetch_factor=4 has no effect beside the rest of the config'),
    ],
)
def test_a_name_that_only_other_code_may_read_and_a_key_without_effect_warn_once(configs, option, message):
    with pytest.warns(ConfigWarning, match=message) as caught:
        load(configs['dialect'], option)
    assert len(caught) == 1


@pytest.mark.parametrize('name', ['native', 'lazy'])
@pytest.mark.parametrize(
    ('option', 'message'),
    [
        ('pipeline.0.size=(4,4)', r'write train_dataloader.dataset.pipeline'),
        ('optimizer.lr=0.5', r'write optim_wrapper.optimizer'),
        ('samples_per_gpu=2', r'write train_dataloader.batch_size=2'),
        ('data.samples_per_gpu=2', r'in a native MMEngine config; write train_dataloader.batch_size=2'),
        ('runner.max_iters=2', r'write train_cfg.max_iters=2'),
        ('lr_config.policy=step', r'write param_scheduler=step'),
        ('epochs=3', r'write train_cfg.max_epochs=3'),
        ('trainer.precision=16', r'write --precision fp16'),
        ('accumulate_grad_batches=4', r'write optim_wrapper.accumulative_counts=4'),
        ('precision=bf16', r'write optimize.precision=bf16'),
        ('train_dataloder.batch_size=3', r'did you mean train_dataloader\?'),
        ('num_classes=4', r'write model.num_classes=4'),
    ],
)
def test_native_configs_are_told_their_own_key(configs, name, option, message):
    with pytest.raises(ConfigError, match=message):
        load(configs[name], option)


def test_scalars_of_native_configs_are_followed_too(configs):
    for name in ('native', 'lazy'):
        with pytest.raises(ConfigError, match=r'batch is a variable .*; write train_dataloader.batch_size=8\.$'):
            load(configs[name], 'batch=8')
    assert load(configs['native'], 'train_dataloader.batch_size=8')['train_dataloader']['batch_size'] == 8
    with pytest.warns(ConfigWarning, match='my_flag'):
        load(configs['native'], 'my_flag=1')


def test_the_text_of_a_file_is_told_the_same_where_it_is_refused():
    with pytest.raises(ConfigError, match=r'^FP16 is a word of other code; write --precision fp16, bf16 or fp32\.$'):
        lower(make_config() | dict(FP16=True))
    with pytest.raises(ConfigError, match=r'^data.num_epochs is a word of other code; write runner.max_epochs=3\.$'):
        lower(make_config(data=dict(num_epochs=3)))


def test_a_variable_that_is_called_like_a_section_warns_once(configs):
    with pytest.warns(ConfigWarning, match=r'total_epoch \(the section is called total_epochs\)') as caught:
        load_config(configs['dialect'], options=['data.samples_per_gpu=8'])
    assert len(caught) == 1


# --- the table of words -----------------------------------------------------------------------------------------------
WORDS = [(word, ours) for words in FOREIGN.values() for word, ours in words.items()]


@pytest.mark.parametrize(('word', 'ours'), WORDS)
def test_every_word_of_another_framework_has_a_key_here_in_both_dialects(word, ours):
    assert word == word.lower()
    assert word_of(word.upper()).ours
    key, _, _ = ours.partition('=')
    if ' ' in ours or ours.startswith('--'):
        return
    section, _, last = key.rpartition('.')
    keys = {'': set(TOP_LEVEL.keys)} | {name: set(table.keys) for name, table in SECTIONS.items()}
    keys['lr_config'] |= {name for table in POLICIES['lr_config'].values() for name in table}
    assert key.partition('.')[0] in ('model', 'custom_hooks', 'phases') or last in keys[section], key
    native = word_of(word).remedy(1, native=True).removeprefix('write ').partition('=')[0].partition('.')[0]
    assert native in NATIVE


def test_no_word_stands_twice_and_no_section_is_ours():
    words = [word for word, _ in WORDS]
    assert sorted(words) == sorted(set(words))
    assert not set(FOREIGN_SECTIONS) & set(TOP_LEVEL.keys)
