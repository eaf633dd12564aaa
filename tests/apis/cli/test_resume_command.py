import pytest

from mmopt.apis.cli.resume_command import resume_command

TORCHRUN = dict(TORCHELASTIC_RUN_ID='x', LOCAL_WORLD_SIZE='2', WORLD_SIZE='2', RANK='0')


@pytest.mark.parametrize(
    ('argv', 'environment', 'command'),
    [
        ('tools/train.py c.py --work-dir x', {}, 'python tools/train.py c.py --work-dir x --auto-resume'),
        ('tools/train.py c.py --auto-resume', {}, 'python tools/train.py c.py --auto-resume'),
        ('tools/train.py c.py --resume-from a.pth --seed 1', {}, 'python tools/train.py c.py --seed 1 --auto-resume'),
        ('tools/train.py c.py --resume-from=a.pth', {}, 'python tools/train.py c.py --auto-resume'),
        (
            'tools/train.py c.py --launcher pytorch --seed 1',
            TORCHRUN,
            'bash tools/dist_train.sh c.py 2 --seed 1 --auto-resume',
        ),
        (
            'tools/train.py c.py --launcher pytorch',
            TORCHRUN | dict(WORLD_SIZE='4'),
            'NNODES=2 NODE_RANK=... MASTER_ADDR=... bash tools/dist_train.sh c.py 2 --auto-resume',
        ),
        (
            'tools/train.py c.py --launcher slurm',
            dict(SLURM_PROCID='0'),
            'srun python tools/train.py c.py --launcher slurm --auto-resume',
        ),
    ],
)
def test_the_command_that_goes_on_is_the_one_that_began(argv, environment, command):
    assert resume_command(argv.split(), environment) == command


@pytest.mark.parametrize(
    ('flags', 'environment', 'command'),
    [
        ('c --seed 1', {}, 'mmopt train c --seed 1 --auto-resume'),
        (
            'c --launcher pytorch',
            TORCHRUN,
            'torchrun --standalone --nproc-per-node 2 -m mmopt train c --launcher pytorch --auto-resume',
        ),
        (
            'c --launcher pytorch',
            TORCHRUN | dict(WORLD_SIZE='4'),
            'torchrun --nnodes 2 --node-rank ... --master-addr ... --nproc-per-node 2 -m mmopt train c '
            '--launcher pytorch --auto-resume',
        ),
        ('c --launcher slurm', dict(SLURM_PROCID='0'), 'srun mmopt train c --launcher slurm --auto-resume'),
    ],
)
def test_a_run_that_the_command_mmopt_began_goes_on_with_it(flags, environment, command):
    assert resume_command(['mmopt train', *flags.split()], environment) == command
