"""The registry of mmcv 1.x: scopes, inheritance, messages."""

import pytest

from mmopt.mmcv1.registry import Registry, build_from_cfg


@pytest.fixture
def registry() -> Registry:
    made = Registry('animal', scope='zoo')

    @made.register_module()
    class Cat:
        def __init__(self, lives=9):
            if lives < 1:
                raise ValueError('dead')
            self.lives = lives

    made.cat = Cat
    return made


def test_names_are_looked_up_in_the_registry_alone(registry):
    child = Registry('animal', parent=registry, scope='farm')
    assert registry.get('Cat') is registry.cat
    assert child.get('Cat') is None
    assert child.get('zoo.Cat') is registry.cat
    child.register_module('Cow', module=type('Cow', (), {}))
    assert registry.get('farm.Cow').__name__ == 'Cow'
    assert 'Cow' not in registry
    assert 'farm.Cow' in registry
    assert len(child) == 1


def test_the_scope_is_the_top_package_of_whoever_makes_the_registry():
    assert Registry('x').scope == 'tests'


def test_building_takes_defaults_and_names_the_class_in_errors(registry):
    assert registry.build(dict(type='Cat'), default_args=dict(lives=3)).lives == 3
    assert build_from_cfg(dict(type=registry.cat), registry).lives == 9
    with pytest.raises(KeyError, match='Dog is not in the animal registry'):
        registry.build(dict(type='Dog'))
    with pytest.raises(ValueError, match='^Cat: dead$'):
        registry.build(dict(type='Cat', lives=0))
    with pytest.raises(KeyError, match='must contain the key "type"'):
        registry.build({})
    with pytest.raises(TypeError, match='type must be a str or valid type'):
        registry.build(dict(type=1))


def test_a_child_builds_as_its_parent_does():
    parent = Registry('p', build_func=lambda cfg, registry: (registry.scope, cfg), scope='a')
    assert Registry('p', parent=parent, scope='b').build(dict(x=1)) == ('b', dict(x=1))


def test_registering_works_in_every_spelling_and_refuses_a_name_twice(registry):
    @registry.register_module(['Lion', 'Simba'])
    class Lion:
        pass

    @registry.register_module
    class Owl:
        pass

    assert registry.get('Simba') is registry.get('Lion') is Lion
    assert registry.get('Owl') is Owl
    with pytest.raises(KeyError, match='Owl is already registered in animal'):
        registry.register_module(module=Owl)
    registry.register_module('Owl', force=True, module=Lion)
    assert registry.get('Owl') is Lion
    with pytest.raises(TypeError, match='module must be a class or a function'):
        registry.register_module(module=1)
    with pytest.raises(TypeError, match='name must be'):
        registry.register_module(5)
