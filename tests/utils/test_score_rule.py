import pytest

from mmopt.utils.score_rule import score_rule


@pytest.mark.parametrize(
    ('metric', 'rule'),
    [
        ('mIoU', 'greater'),
        ('bbox_mAP_50', 'greater'),
        ('val/loss_cls', 'less'),
        ('F1', 'greater'),
        ('pixel_error', 'less'),
        ('loss_acc', 'greater'),  # more goes before less, as in mmcv
        ('AR@100', 'greater'),
        ('speed', None),
    ],
)
def test_the_name_of_a_metric_tells_whether_more_is_better(metric: str, rule: str | None):
    assert score_rule(metric) == rule


def test_given_key_words_replace_the_usual_ones():
    assert score_rule('mIoU', greater=['speed']) is None
    assert score_rule('speed', greater=['speed']) == 'greater'
    assert score_rule('acc', less=['acc']) == 'greater'
    assert score_rule('acc', greater=['x'], less=['acc']) == 'less'
