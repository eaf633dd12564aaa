"""Fixtures of the checkpoint tests."""

from collections import OrderedDict
from collections.abc import Callable

import pytest
import torch

from mmopt.engine.checkpoint_io import folder, formats, write


@pytest.fixture(scope='session')
def state() -> Callable[..., dict]:
    """Return a function that makes a small checkpoint of mmopt; ``shift`` is added to its first weight."""

    def make(shift: float = 0.0, **meta) -> dict:
        return dict(
            meta=dict(iter=20, epoch=1, mmopt_version='0', **meta),
            state_dict=OrderedDict(weight=torch.arange(6.0).view(2, 3) + shift, bias=torch.ones(2)),
            optimizer=dict(state={0: dict(step=torch.tensor(3.0))}, param_groups=[dict(lr=0.1, params=[0])]),
        )

    return make


@pytest.fixture
def warnings_logged(monkeypatch) -> list[str]:
    """Return the list that collects what is logged as a warning."""
    logged: list[str] = []
    for module in (folder, formats, write):
        monkeypatch.setattr(module, 'print_log', lambda text, logger, level: logged.append(text))
    return logged
