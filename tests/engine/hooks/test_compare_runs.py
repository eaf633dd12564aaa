import pytest

from mmopt.engine.hooks.compare_runs_hook import comparison_table
from mmopt.registry import RUNNERS
from tests.engine.toy import toy_config

COST = dict(parameters=1234, iterations=10, train_s=5.0, s_per_iteration=0.5)


def test_the_better_value_is_bold_whoever_has_it():
    table = comparison_table(
        {'old': COST | {'F1': 0.5, 'F1.a': 0.25}, 'new': COST | {'F1': 0.4, 'F1.a': 0.75}}, ['F1', 'F1.*']
    )
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()]
    assert rows[0] == ['', 'old', 'new']
    assert rows[2] == ['parameters', '1,234', '1,234']
    assert rows[5] == ['F1', '**0.500**', '0.400']
    assert rows[6] == ['F1.a', '0.250', '**0.750**']


def test_every_column_has_one_width():
    lines = comparison_table({'a': COST | dict(m=1.0), 'longer name': COST | dict(m=0.0)}, ['m']).splitlines()
    assert len({len(line) for line in lines}) == 1


OTHER = """
custom_imports = dict(imports=['tests.engine.toy'])
model = dict(type='ToyModel', dropout=0.5)
data = dict(samples_per_gpu=4, workers_per_gpu=0, train=dict(type='ToyDataset'), val=dict(type='ToyDataset', length=6))
optimizer = dict(type='AdamW', lr=0.01)
lr_config = dict(policy='fixed')
runner = dict(type='IterBasedRunner', max_iters=3)
evaluation = dict(interval=3, metric=dict(type='ToyError'))
"""


@pytest.mark.slow
def test_another_config_is_trained_beside_a_run(tmp_path):
    from mmengine.config import Config

    (tmp_path / 'other.py').write_text(OTHER)
    hook = dict(type='CompareRunsHook', name='this', others=dict(other=str(tmp_path / 'other.py')), metrics=['error'])
    cfg = toy_config(tmp_path / 'run', max_iters=4, custom_hooks=[hook])
    RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg)).train()
    table = (tmp_path / 'run' / 'comparison.md').read_text().splitlines()
    assert table[0].split('|')[1:4] != []
    assert [cell.strip() for cell in table[3].strip('|').split('|')] == ['iterations', '3', '4']
    assert (tmp_path / 'run' / 'other' / 'latest.log').exists()


def test_a_run_without_validation_says_that_it_is_not_compared(tmp_path):
    from mmengine.config import Config

    hook = dict(type='CompareRunsHook', name='this', others=dict(other='nowhere.py'), metrics=['error'])
    cfg = toy_config(tmp_path, max_iters=2, custom_hooks=[hook], val_dataloader=None, val_evaluator=None, val_cfg=None)
    cfg['train_cfg'].pop('val_interval')
    RUNNERS.get(cfg['runner_type']).from_cfg(Config(cfg)).train()
    assert 'with validation only: skipped' in (tmp_path / 'latest.log').read_text()
