"""Which configs need the layer of mmcv 1.x, by the types that they name."""

import pytest

from mmopt.mmcv1.recognize import recognize


@pytest.fixture
def repository(tmp_path):
    """A config beside a package that is written for mmcv 1.x."""
    package = tmp_path / 'theirs'
    package.mkdir()
    (package / '__init__.py').write_text('from mmcv.runner import BaseModule\n')
    (package / 'parts.py').write_text('class OwnModel:\n    pass\n\n\nclass OwnSet:\n    pass\n')
    return tmp_path / 'configs' / 'a.py'


@pytest.mark.parametrize(
    ('model', 'train', 'reason'),
    [
        ('OwnModel', 'OwnSet', 'theirs has OwnModel'),
        ('LSSSegmentor', 'OwnSet', 'theirs has OwnSet'),
        ('OwnModel', 'NuScenesBEVDataset', 'theirs has OwnModel'),
    ],
)
def test_a_model_or_a_data_set_of_a_package_beside_the_config_needs_it(repository, model, train, reason):
    for section in (dict(type=train), dict(type='RepeatDataset', times=2, dataset=dict(type=train))):
        found = recognize(dict(model=dict(type=model), data=dict(train=section)), repository)
        assert found.reason.startswith(reason)
        assert found.package == 'theirs'


@pytest.mark.parametrize(('model', 'train'), [('LSSSegmentor', 'NuScenesBEVDataset'), ('Nowhere', 'NoSet')])
def test_types_of_mmopt_and_types_that_are_nowhere_need_nothing(repository, model, train):
    assert recognize(dict(model=dict(type=model), data=dict(train=dict(type=train))), repository) is None


def test_a_module_is_judged_by_itself_and_not_by_what_lies_beside_it(repository):
    (repository.parents[1] / 'theirs' / 'plain.py').write_text('import numpy\n')
    cfg = dict(custom_imports=dict(imports=['theirs.plain']), model=dict(type='LSSSegmentor'))
    assert recognize(cfg, repository) is None
