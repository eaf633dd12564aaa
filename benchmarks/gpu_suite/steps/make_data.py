"""Make the demo data of the loading step, in the background."""

from gpu_suite.child import Step


def run(step: Step) -> None:
    """Make them."""
    from mmopt.datasets.bev.demo import make_demo

    sizes = (4, 2, (75, 100)) if step.tiny else (64, 8, (600, 800))
    make_demo(step.scratch / 'demo', *sizes, num_workers=step.size(8, 1))
    (step.scratch / 'demo.done').touch()
