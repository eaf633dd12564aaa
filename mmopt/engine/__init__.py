"""Runner, loops, schedulers, checkpoints: what runs a model without knowing its task.

Names are imported on first use: tools that ask for a card's memory or for a key's meaning need no runner.
:mod:`mmopt.engine.registered` imports what the registries hold.
"""

from mmopt.utils.lazy import lazy_names

_HOME = dict(
    EpochBasedRunner='runner',
    EpochBasedTrainLoop='loops.epoch_loop',
    IterBasedRunner='runner',
    IterBasedTrainLoop='loops.iter_loop',
    TestLoop='loops.evaluation_loops',
    ValLoop='loops.evaluation_loops',
)

__all__ = list(_HOME)
__getattr__ = lazy_names(__name__, _HOME)
