import pytest

from mmopt.config.evaluation import main_metric


@pytest.mark.parametrize(
    ('save_best', 'want'),
    [(None, 'mIoU'), ('aAcc', 'aAcc'), (['F1', 'aAcc'], 'F1'), ('auto', 'mIoU'), ('absent', 'mIoU'), ([], 'mIoU')],
)
def test_the_metric_that_chooses_the_best_checkpoint_judges_the_run(save_best, want):
    cfg = dict(default_hooks=dict(checkpoint=dict(save_best=save_best)))
    assert main_metric(cfg, dict(mIoU=1, aAcc=2, F1=3)) == want


def test_nothing_judges_a_run_without_a_measurement():
    assert main_metric(dict(default_hooks=None), {}) is None
