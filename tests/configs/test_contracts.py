"""Contracts over everything that is registered and every config that is shipped."""

import ast
import importlib
import inspect
import json
import os
import pkgutil
import subprocess
import sys
import textwrap

import pytest
from mmengine.registry import Registry

import mmopt
from tests.conftest import REPO

SHIPPED = sorted(
    str(p.relative_to(REPO)) for kind in ('baseline', 'demo') for p in (REPO / 'configs' / kind).glob('*.py')
)

# Builds what a run builds from its config alone: model, optimizer wrapper, schedulers. No data is needed.
BUILD = """
import json, sys
import torch
from mmengine.registry import init_default_scope
from mmopt.apis import load_config
from mmopt.registry import MODELS, OPTIM_WRAPPER_CONSTRUCTORS, PARAM_SCHEDULERS
out = {}
for path in sys.argv[1:]:
    cfg = load_config(path)
    init_default_scope(cfg.default_scope)
    model = MODELS.build(cfg.model)
    wrapper_cfg = dict(cfg.optim_wrapper)
    constructor = dict(
        type=wrapper_cfg.pop('constructor'), paramwise_cfg=wrapper_cfg.pop('paramwise_cfg', None),
        optim_wrapper_cfg=wrapper_cfg,
    )
    wrapper = OPTIM_WRAPPER_CONSTRUCTORS.build(constructor)(model)
    for item in cfg.param_scheduler:
        scheduler = PARAM_SCHEDULERS.build(dict(item), default_args=dict(optimizer=wrapper, epoch_length=10))
        loop = cfg.train_cfg
        max_epochs = loop.get('max_epochs', 1)
        max_iters = loop.get('max_iters') or 10 * max_epochs
        scheduler.set_horizon(epoch_length=10, max_iters=max_iters, max_epochs=max_epochs)
    trained = {id(p) for group in wrapper.optimizer.param_groups for p in group['params']}
    left_out = [n for n, p in model.named_parameters() if p.requires_grad and id(p) not in trained]
    with torch.device('meta'):  # as what only looks at a model builds it
        MODELS.build(cfg.model)
    out[path] = dict(groups=len(wrapper.optimizer.param_groups), left_out=left_out)
print(json.dumps(out))
"""


@pytest.fixture(scope='module')
def built() -> dict:
    command = [sys.executable, '-W', 'error::UserWarning', '-c', BUILD, *SHIPPED]
    done = subprocess.run(
        command, cwd=REPO, env={**os.environ, 'PYTHONPATH': str(REPO)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.parametrize('path', SHIPPED)
def test_every_shipped_config_builds_in_a_fresh_process(built, path):
    assert path in built


@pytest.mark.parametrize('path', SHIPPED)
def test_the_optimizer_of_every_shipped_config_holds_every_parameter_in_few_groups(built, path):
    assert built[path]['left_out'] == []
    assert built[path]['groups'] <= 8  # one group per parameter makes fused AdamW 4 times slower


@pytest.mark.parametrize('path', SHIPPED)
def test_every_number_of_a_shipped_config_can_be_read_with_its_bases(path):
    source = (REPO / path).read_text()
    assert '_base_' in source
    assert len(source.splitlines()) < 100, 'a config is its bases plus what differs'


def our_classes() -> list[type]:
    found = {}
    for module in pkgutil.walk_packages(mmopt.__path__, 'mmopt.'):
        for name, item in vars(importlib.import_module(module.name)).items():
            if inspect.isclass(item) and item.__module__ == module.name:
                found[f'{module.name}.{name}'] = item
    return list(found.values())


@pytest.mark.parametrize('cls', our_classes(), ids=lambda cls: cls.__qualname__)
def test_every_constructor_argument_is_used(cls):
    if '__init__' not in vars(cls) or cls.__init__.__qualname__.startswith('__create_fn__'):
        return
    try:
        source = inspect.getsource(cls.__init__)
    except OSError:  # a dataclass writes its own
        return
    function = ast.parse(textwrap.dedent(source)).body[0]
    arguments = [a.arg for a in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)][1:]
    read = {node.id for node in ast.walk(function) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    assert [name for name in arguments if name not in read] == []


def registered() -> list[tuple[str, type]]:
    import mmopt.registry as nodes

    for package in ('datasets', 'engine', 'evaluation', 'models'):
        importlib.import_module(f'mmopt.{package}')
    return [
        (f'{node}.{name}', item)
        for node in nodes.__all__
        if isinstance(getattr(nodes, node), Registry)
        for name, item in getattr(nodes, node).module_dict.items()
        if item.__module__.startswith('mmopt.')
    ]


@pytest.mark.parametrize(('name', 'item'), registered(), ids=lambda value: value if isinstance(value, str) else '')
def test_everything_registered_is_documented_and_public(name, item):
    assert item.__doc__, name
    assert item.__name__ in sys.modules[item.__module__].__all__, name


@pytest.mark.parametrize('path', [path for path in SHIPPED if 'demo' in path])
def test_a_demo_trains_in_the_fastest_precision_of_the_device_whichever_that_is(path):
    from mmopt.apis import load_config
    from mmopt.config.precision import allowed_precisions, precision_of

    section = load_config(REPO / path).optim_wrapper
    assert precision_of(section) == 'auto'
    assert allowed_precisions(section) == ('bf16', 'fp16')
