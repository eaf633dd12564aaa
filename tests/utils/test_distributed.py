import pytest

from mmopt.utils.distributed import rank_to_be


@pytest.mark.parametrize(
    ('launcher', 'environment', 'rank'),
    [
        ('none', dict(RANK='3', SLURM_PROCID='2'), 0),  # an interactive job of SLURM is one process
        ('pytorch', dict(RANK='3', SLURM_PROCID='2'), 3),
        ('slurm', dict(RANK='3', SLURM_PROCID='2'), 2),
        (None, dict(SLURM_PROCID='2'), 2),
        (None, dict(RANK='1', SLURM_PROCID='2'), 1),
        (None, dict(), 0),
    ],
)
def test_the_rank_is_known_before_the_process_group(launcher, environment, rank):
    assert rank_to_be(launcher, environment) == rank
