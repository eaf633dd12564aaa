"""The cost model and the search, on surfaces whose best setting is known."""

import math
import random

import pytest

from mmopt.engine.tuner import CostModel, Knob, Outcome, Space, search


def space(**changes) -> Space:
    knobs = dict(
        batch=Knob('batch', 4, (1, 2, 4, 8), doubt=0.08, is_ordered=True, memory={1: 1, 2: 2, 4: 4, 8: 8}),
        precision=Knob('precision', 'fp32', ('fp32', 'bf16'), {'bf16': 0.6}, doubt=0.25, memory=dict(fp32=1, bf16=0)),
        channels_last=Knob('channels_last', False, (False, True), {True: 0.95}, doubt=0.2),
        fused=Knob('fused', False, (False, True), {True: 0.98}, doubt=0.03),
    )
    return Space(tuple((knobs | changes).values()))


# Factors on the time of two models as published: one likes channels_last, the other loses a third by it.
LIKES = dict(batch={1: 1.3, 2: 1.1, 4: 1.0, 8: 0.93}, precision=dict(bf16=0.55), channels_last={True: 0.68})
DISLIKES = dict(batch={1: 1.2, 2: 1.05, 4: 1.0, 8: 1.04}, precision=dict(bf16=0.7), channels_last={True: 1.52})


def seconds(model: dict, point: dict) -> float:
    return 0.1 * math.prod(model.get(name, {}).get(value, 1.0) for name, value in point.items())


@pytest.mark.parametrize('model', [LIKES, DISLIKES], ids=['likes', 'dislikes'])
@pytest.mark.parametrize('seed', range(3))
def test_the_choice_is_within_5_percent_of_an_exhaustive_grid_in_at_most_40_percent_of_its_trials(model, seed):
    rng, grid = random.Random(seed), space()
    found = search(grid, lambda s: Outcome(seconds(model, s) * math.exp(rng.gauss(0, 0.01))))
    best = min(seconds(model, point) for point in grid)
    assert seconds(model, found.best) <= 1.05 * best
    assert len(found.trials) <= 0.4 * len(grid)


def test_what_does_not_help_this_model_is_taken_back():
    found = search(space(), lambda point: Outcome(seconds(DISLIKES, point)))
    assert found.best['channels_last'] is False
    assert found.best['fused'] is False  # no effect on either model: not worth a line
    assert found.best['precision'] == 'bf16'


def test_the_base_is_the_choice_where_nothing_helps():
    found = search(space(), lambda point: Outcome(0.1 if point == space().base else 0.2))
    assert found.best == space().base
    assert found.trials[0][0] == space().base


def test_interactions_are_learnt():
    # channels_last pays in bf16 only.
    def measure(point):
        both = point['channels_last'] and point['precision'] == 'bf16'
        return Outcome(0.1 * (0.7 if both else 1.15 if point['channels_last'] else 1.0))

    found = search(space(), measure)
    assert (found.best['channels_last'], found.best['precision']) == (True, 'bf16')


def test_a_setting_that_does_not_fit_rules_out_larger_ones():
    tried = []

    def measure(point):
        tried.append(point)
        if point['batch'] >= 4 and point['precision'] == 'fp32':
            return Outcome(None, 'out of memory', too_large=True)
        return Outcome(seconds(LIKES, point))

    found = search(space(), measure)
    assert found.best['precision'] == 'bf16'
    too_large = [s['batch'] for s in tried if s['batch'] >= 4 and s['precision'] == 'fp32']
    # Whatever else is set: less memory each time, or it would have been ruled out.
    assert too_large == sorted(set(too_large), reverse=True)


def test_what_the_estimate_rules_out_is_never_tried():
    tried = []

    def measure(point):
        tried.append(point['batch'])
        return Outcome(seconds(LIKES, point))

    found = search(space(), measure, fits=lambda point: point['batch'] <= 4)
    assert 8 not in tried
    assert found.pruned == 8


def test_a_wrong_loss_is_never_the_choice():
    found = search(
        space(), lambda s: Outcome(None, 'its loss is 9 % off') if s['precision'] == 'bf16' else Outcome(0.1)
    )
    assert found.best['precision'] == 'fp32'


def test_a_value_that_fails_is_found_out_and_left_alone():
    tried = []

    def measure(point):
        tried.append(point)
        return Outcome(None, 'not finite') if point['fused'] else Outcome(seconds(LIKES, point))

    found = search(space(fused=Knob('fused', False, (False, True), {True: 0.5}, doubt=0.1)), measure)
    assert sum(point['fused'] for point in tried) <= 2
    assert seconds(LIKES, found.best) <= 1.05 * min(seconds(LIKES, point) for point in space())


def test_no_usable_setting_is_told_with_the_reason():
    with pytest.raises(RuntimeError, match='out of memory'):
        search(space(), lambda point: Outcome(None, 'out of memory', too_large=True), max_trials=5)


def test_trials_end_where_the_budget_does():
    assert len(search(space(), lambda point: Outcome(random.random() + 0.1), max_trials=3).trials) == 3


def test_a_model_that_saw_a_factor_predicts_it_elsewhere():
    grid = space()
    model, base = CostModel(grid), grid.base
    assert model.factor(dict(base, precision='bf16'), base) == pytest.approx(1 / 0.6)  # the expectation, at first
    model.learn([base, dict(base, precision='bf16')], [0.1, 0.09])
    assert model.factor(dict(base, precision='bf16', batch=8), dict(base, batch=8)) == pytest.approx(1.11, abs=0.05)
    doubt = model.predict(dict(base, precision='bf16'))[1]
    assert doubt < model.predict(dict(base, channels_last=True))[1]


def test_a_base_outside_its_values_is_refused():
    with pytest.raises(ValueError, match='is not among its values'):
        Knob('batch', 3, (1, 2))
