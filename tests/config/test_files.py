"""A config file is run as MMCV 1.x runs it; MMEngine's lazy configs are read as MMEngine reads them."""

import math
import time
from pathlib import Path

import pytest
from mmengine.config import Config

from mmopt.config import ConfigError
from mmopt.config.files import places_of, read_file


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / f'{name}.py'
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.mark.parametrize(
    ('text', 'value'),
    [
        ('from math import pi\nmodel = dict(angle=pi)', math.pi),
        ('import math\nmodel = dict(angle=2 * math.pi)', 2 * math.pi),
        ('import numpy as np\nmodel = dict(angle=float(np.pi))', math.pi),
        ('import os.path as osp\nmodel = dict(angle=osp.join("a", "b"))', 'a/b'),
        ('def double(x):\n    return 2 * x\nmodel = dict(angle=double(3))', 6),
        ('n = 3\nmodel = dict(angle=[n * i for i in range(3)])', [0, 3, 6]),
        ('with open(__file__) as file:\n    first = file.read(4)\ndel file\nmodel = dict(angle=first)', 'with'),
        ("model = dict(angle='{{ fileBasenameNoExtension }}')", 'c'),
    ],
)
def test_a_file_is_run_as_python(tmp_path, text, value):
    write(tmp_path, c=text)
    assert read_file(tmp_path / 'c.py')['model'] == dict(angle=value)


def test_modules_functions_and_classes_are_no_variables(tmp_path):
    write(tmp_path, c='import os\nfrom math import pi, sqrt\nfrom pathlib import Path\ndef f():\n    pass\na = 1')
    assert read_file(tmp_path / 'c.py') == dict(pi=math.pi, a=1)


@pytest.mark.parametrize(
    'base',
    [
        "root = '.'\n_base_ = [f'{root}/base.py']",
        "import os.path as osp\nroot = '.'\n_base_ = osp.join(root, 'base.py')",
        "_base_ = []\nfor name in ['base']:\n    _base_.append(f'./{name}.py')",
        "_base_ = ['./base.py']\n_base_ += []",
        "_base_ = ('base.py',)",
        "import numpy as np\n_base_ = ['./base.py']",
    ],
)
def test_bases_may_be_computed(tmp_path, base):
    write(tmp_path, base='optimizer = dict(type="SGD", lr=0.1)', c=f'{base}\noptimizer = dict(lr=0.2)')
    assert read_file(tmp_path / 'c.py')['optimizer'] == dict(type='SGD', lr=0.2)


def test_the_published_cases_are_read_as_mmcv_reads_them(tmp_path):
    write(
        tmp_path,
        plain='from math import pi\nmodel = dict(angle=pi)\noptimizer = dict(lr=0.1)',
        child="root = '.'\n_base_ = [f'{root}/plain.py']\noptimizer = dict(lr=0.2)",
    )
    cfg = read_file(tmp_path / 'child.py')
    assert (cfg['model']['angle'], cfg['optimizer']['lr']) == (math.pi, 0.2)


@pytest.mark.parametrize(
    'child',
    [
        "_base_ = './base.py'\nlr = {{ _base_.optimizer.lr }}\nruns = [{{_base_.name}}, 1]",
        "_base_ = './base.py'\nlr = _base_.optimizer.lr\nruns = [_base_['name'], 1]",
        "_base_ = './base.py'\nlr = _base_.optimizer.lr\n_base_.pop('gone')\nruns = [_base_.name, 1]",
    ],
)
def test_values_of_the_bases_can_be_used_in_both_ways(tmp_path, child):
    write(tmp_path, base="optimizer = dict(lr=0.1)\nname = 'x'\ngone = 1", c=child)
    cfg = read_file(tmp_path / 'c.py')
    assert (cfg['lr'], cfg['runs'], cfg['optimizer']) == (0.1, ['x', 1], dict(lr=0.1))
    assert ('gone' in cfg) == ('pop' not in child)


def test_two_names_of_one_dict_both_replace_what_the_base_says(tmp_path):
    write(tmp_path, base='a = dict(x=1)\nb = dict(x=1)', c="_base_ = 'base.py'\na = dict(_delete_=True, y=2)\nb = a")
    assert read_file(tmp_path / 'c.py') == dict(a=dict(y=2), b=dict(y=2))


def test_json_and_yaml_have_bases_too(tmp_path):
    write(tmp_path, base='model = dict(type="A", size=1)')
    (tmp_path / 'c.json').write_text('{"_base_": "./base.py", "model": {"size": 2}, "name": {{ _base_.model.type }}}')
    (tmp_path / 'c.yaml').write_text('_base_: ./c.json\nmodel:\n  size: 3\n')
    assert read_file(tmp_path / 'c.yaml') == dict(model=dict(type='A', size=3), name='A')


@pytest.mark.parametrize(
    ('files', 'message'),
    [
        (dict(c="_base_ = './c.py'"), r'c\.py: its bases lead back .*c\.py -> .*c\.py; cut the circle'),
        (
            dict(c="_base_ = './d.py'", d="_base_ = './e.py'", e="_base_ = './c.py'"),
            r'e\.py: its bases lead back to .*: \S*c\.py -> \S*d\.py -> \S*e\.py -> \S*c\.py',
        ),
        (
            dict(
                c='from mmengine.config import read_base\nwith read_base():\n    from .d import *',
                d='from mmengine.config import read_base\nwith read_base():\n    from .c import *',
            ),
            r'd\.py: its bases lead back to .*c\.py -> \S*d\.py -> \S*c\.py',
        ),
        (dict(c="a = 1\n_base_ = [f'{b}/x.py']"), r"c\.py:2: NameError: name 'b' is not defined"),
        (
            dict(c="_base_ = './d.py'", d='a = 1\nb = a.x'),
            r"d\.py:2: AttributeError: 'int' object has no attribute 'x'",
        ),
        (dict(c='import not_there\n'), r"c\.py:1: ModuleNotFoundError: No module named 'not_there'"),
        (dict(c='import json\n\na = json.loads("")'), r'c\.py:3: JSONDecodeError'),
        (dict(c="_base_ = './no.py'"), r'c\.py: \S*no\.py, named in _base_, does not exist; paths count from'),
        (dict(c='_base_ = 3'), r'c\.py: _base_ must be a path or a list of them, got 3'),
        (
            dict(c="_base_ = 'mmdet::a/x.py'"),
            r"c\.py: _base_ 'mmdet::a/x.py': ModuleNotFoundError: mmdet is not",
        ),
        (dict(c="_base_ = ['d.py', 'e.py']", d='a = 1', e='a = 2'), r"c\.py: its bases d\.py and e\.py both set 'a'"),
        (
            dict(c="_base_ = 'd.py'\na = dict(x=1)", d='a = [1]'),
            r'c\.py: a is a dict here and <class .list.> in its base',
        ),
        (dict(c="_base_ = 'd.py'\nb = {{_base_.x}}", d='a = 1'), r"c\.py: its bases have no 'x', .*\{\{_base_\.x\}\}"),
        (
            dict(c="_base_ = 'd.py'\nb = '{{_base_.a}}/x'", d="a = 'p'"),
            r'\{\{_base_\.a\}\} stands inside a longer text',
        ),
        (dict(c='filename = 3'), 'the variable filename has a name that MMEngine keeps for itself'),
        (
            dict(c="_base_ = 'd.py'", d='from .x import *\nwith read_base():\n    pass'),
            r'd\.py: is written with read_base',
        ),
        (dict(c='a = ('), r"c\.py:1: '\(' was never closed"),
        (dict(c="_base_ = 'd.py'", d='a = 1\nb = ('), r"d\.py:2: '\(' was never closed"),
    ],
)
def test_what_cannot_be_read_names_file_and_line_at_once(tmp_path, files, message):
    write(tmp_path, **files)
    started = time.perf_counter()
    with pytest.raises(ConfigError, match=message):
        read_file(tmp_path / 'c.py')
    assert time.perf_counter() - started < 2  # a circle took 40 s of recursion


def test_other_files_are_refused(tmp_path):
    (tmp_path / 'c.txt').write_text('a = 1')
    with pytest.raises(ConfigError, match=r'c\.txt: a config is a file with one of the endings \.py, \.json'):
        read_file(tmp_path / 'c.txt')
    (tmp_path / 'c.py').write_bytes('# é\na = 1'.encode('latin-1'))
    with pytest.raises(ConfigError, match='is not written in UTF-8'):
        read_file(tmp_path / 'c.py')


# --- lazy configs of MMEngine -----------------------------------------------------------------------------------------
LAZY = {
    'child': """from mmengine.config import read_base
from torch.optim import SGD
with read_base():
    from .base import *
optim_wrapper.update(optimizer=dict(type=SGD, lr=0.2))
""",
    'base': """from torch.optim import AdamW
from math import pi
optim_wrapper = dict(optimizer=dict(type=AdamW, lr=0.1))
model = dict(angle=2 * pi)
""",
}


@pytest.mark.parametrize('name', LAZY)
def test_lazy_configs_are_read_as_mmengine_reads_them(tmp_path, name):
    write(tmp_path, **LAZY)
    cfg = read_file(tmp_path / f'{name}.py')
    kind, lr = ('torch.optim.SGD', 0.2) if name == 'child' else ('torch.optim.AdamW', 0.1)
    assert cfg['optim_wrapper']['optimizer'] == dict(type=kind, lr=lr)
    assert cfg['model']['angle'] == 2 * math.pi  # MMEngine alone makes a text of it, and `2 * pi` an error
    write(tmp_path, base=LAZY['base'].replace('from math import pi', 'pi = 3'))
    assert read_file(tmp_path / f'{name}.py') == Config.fromfile(tmp_path / f'{name}.py').to_dict()


# --- where a variable went --------------------------------------------------------------------------------------------
FILES = {
    'base': """size = 8
pipeline = [dict(type='Resize', size=size), dict(type='Pack')]
data = dict(train=dict(pipeline=pipeline), val=dict(pipeline=pipeline))
""",
    'c': """_base_ = './base.py'
lr = 0.1
lr *= 2
optimizer = dict(lr=lr)
model = dict(size={{_base_.size}}, scale=[lr, 1])
def scale(lr):
    lr = 5
    return lr
unused = 1
""",
}


@pytest.mark.parametrize(
    ('variable', 'value', 'places'),
    [
        ('lr', 0.5, [('optimizer.lr', 0.5), ('model.scale', [0.5, 1])]),
        (
            'size',
            9,
            [
                ('pipeline.0.size', 9),
                ('data.train.pipeline.0.size', 9),
                ('data.val.pipeline.0.size', 9),
                ('model.size', 9),
            ],
        ),
        ('pipeline', [], [('data.train.pipeline', []), ('data.val.pipeline', [])]),
        ('unused', 2, []),
        ('lr', 0.2, []),
    ],
)
def test_the_values_that_were_made_of_a_variable_are_found(tmp_path, variable, value, places):
    write(tmp_path, **FILES)
    assert places_of(tmp_path / 'c.py', {variable: lambda old: value}) == places
