"""What is measured, in which order, for how long, and what is claimed about it: data, without torch or mmopt."""

from dataclasses import dataclass

__all__ = ['CLAIMS', 'STEPS', 'TASKS', 'PlannedStep', 'Task', 'choose']


@dataclass(frozen=True)
class PlannedStep:
    """A step.

    Attributes:
        name: Of its module in :mod:`gpu_suite.steps`.
        limit_s: Seconds after which it is killed.
        least_s: With less time left it is not begun.
        parts: Runs as a process for each of them; a step without parts is one process.
        at_once: How many of its processes run side by side: more than one only where nothing is timed.
        variables: More environment variables.
        question: What it answers, for the report.
        rehearsed: The parts of the rehearsal, all in one process: without imports a part is soon done.
    """

    name: str
    limit_s: float
    least_s: float
    question: str
    parts: tuple[str, ...] = ('',)
    at_once: int = 1
    variables: tuple[tuple[str, str], ...] = ()
    rehearsed: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Task:
    """A model that is measured.

    Attributes:
        baseline: Its config in ``configs/baseline``.
        demo: A small one of the same model in ``configs/demo``, for the rehearsal.
    """

    baseline: str
    demo: str

    def config(self, *, tiny: bool) -> str:
        """Return the path of the config, from the root of the tree."""
        return f'configs/demo/{self.demo}.py' if tiny else f'configs/baseline/{self.baseline}.py'


TASKS = dict(
    bev=Task('lss_swin_nuscenes', 'lss_swin_nuscenes'),
    segmentation=Task('bisenetv2_cityscapes', 'bisenetv2_cityscapes'),
    detection=Task('yolov5m_fred_rgb', 'yolov5_fred_rgb'),
    tad_v7=Task('tad_v7_mabe_5090', 'tad_v7_mabe'),
    transformer=Task('video_transformer_driver', 'video_transformer_driver'),
    tad_v6=Task('tad_v6_mabe', 'tad_v6_mabe'),
    conv3d=Task('video_conv3d_driver', 'video_conv3d_driver'),
    mamba=Task('video_mamba_driver', 'video_mamba_driver'),
    stgcn=Task('video_stgcn_driver', 'video_stgcn_driver'),
)
FIVE = tuple(list(TASKS)[:5])
"""One per task, of which memory and speed are measured."""

_SAME_SUMS = (('CUBLAS_WORKSPACE_CONFIG', ':4096:8'),)
STEPS = (
    PlannedStep('environment', 40, 10, 'What is this machine, does everything import, what are its ceilings?'),
    PlannedStep('gpu_tests', 90, 20, 'Do the tests that need a GPU pass?'),
    PlannedStep(
        'truth', 70, 15, 'Does a step on the GPU give what it gives on the CPU, without waits?', tuple(TASKS), at_once=4
    ),
    PlannedStep(
        'memory',
        90,
        20,
        'How far off are the memory estimates, and in which part?',
        (*FIVE, 'bev without workspace'),
        at_once=5,
    ),
    PlannedStep('speed', 100, 20, 'How fast is a step in each precision, and how near to the ceiling?', FIVE),
    PlannedStep('guides', 60, 20, 'Do the figures of the guides hold?', ('bev', 'segmentation', 'detection', 'tad')),
    PlannedStep(
        'out_of_memory', 45, 15, 'Does a run on a small card find its size, with the same bits?', variables=_SAME_SUMS
    ),
    PlannedStep(
        'resume',
        45,
        15,
        'Does a run in two processes end like one?',
        ('bev', 'detection', 'tad_v7'),
        at_once=3,
        variables=_SAME_SUMS,
        rehearsed=('tad_v7',),
    ),
    PlannedStep('loading', 50, 20, 'Does the loader keep the GPU busy, and does the copy run beside the kernels?'),
    PlannedStep('peers', 60, 20, 'What does the loop cost beside plain PyTorch and MMEngine?'),
    PlannedStep(
        'trace',
        25,
        10,
        'Which kernels take the time, and how large are the gaps?',
        ('bev', 'tad_v7'),
        rehearsed=('bev',),
    ),
    PlannedStep(
        'compiled', 90, 45, 'What does optimize.compile bring?', ('bev', 'detection'), rehearsed=('detection',)
    ),
)
"""In order of value: what can be learned nowhere else, and what others count from, comes first."""

CLAIMS = (
    ('environment', 'every module imports'),
    ('gpu_tests', 'every GPU test passes'),
    ('truth', 'a step in fp32 is that of the CPU (1e-3)'),
    ('truth', 'the loss in half precision is near that of the CPU in fp32 (1e-2)'),
    ('truth', 'a training step waits for the device nowhere'),
    ('memory', 'median error of the memory estimate at most 3 %'),
    ('guides', 'BEV, batch 8 in FP16: 2 to 3 times the speed'),
    ('out_of_memory', 'an evaluation that runs out of memory goes on in parts'),
    ('out_of_memory', 'a repeated iteration is bit-equal to one that began smaller'),
    ('resume', 'a resumed run is bit-equal (deterministic)'),
    ('loading', 'the copy of the next batch runs beside the kernels'),
    ('peers', 'mmopt costs less above a bare loop than MMEngine'),
    ('peers', 'BEV trains at most 2 % slower than in plain PyTorch'),
)
"""(step, what is said): a step prints what it measured of it; the others stay "not measured" in the report."""


def choose(steps: str | None, skip: str | None) -> list[PlannedStep]:
    """Choose steps by name.

    Args:
        steps: Names with commas between; None: all.
        skip: Names to leave out.

    Returns:
        The steps, in the order of :data:`STEPS`.

    Raises:
        SystemExit: If a name is unknown.
    """
    wanted = [step.name for step in STEPS] if steps is None else steps.split(',')
    left_out = [] if skip is None else skip.split(',')
    known = {step.name for step in STEPS}
    if unknown := [name for name in (*wanted, *left_out) if name not in known]:
        raise SystemExit(f'unknown steps {unknown}; known: {", ".join(step.name for step in STEPS)}')
    return [step for step in STEPS if step.name in wanted and step.name not in left_out]
