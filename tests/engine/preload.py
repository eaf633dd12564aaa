"""What the server of test processes imports before it forks: everything that a short run needs, by running one.

A process then starts in tenths of a second. Imported by the server alone; see :mod:`tests.engine.children`.
"""

import gc
import tempfile

import torch
from mmengine.config import Config

from tests.conftest import forget_mmengine_globals
from tests.engine.toy import toy_config

torch.set_num_threads(1)
# Formatting a config costs more than the whole run.
Config.pretty_text = property(lambda self: str(self.to_dict()))

with tempfile.TemporaryDirectory() as _folder:
    from mmopt.registry import RUNNERS

    _cfg = toy_config(_folder, max_iters=1)
    RUNNERS.get('IterBasedRunner').from_cfg(Config(_cfg)).train()
    forget_mmengine_globals()

# mmengine's data sets collect garbage when they are made; what is here already need not be looked at again.
gc.collect()
gc.freeze()
