"""A model that needs samples and gets none says so, whatever the task."""

import itertools

import pytest

from tests.models.contract_cases import CASES

# What a segmentor predicts is all in the image: it alone needs no samples for it.
NEEDING = [case for case in itertools.product(CASES, ('loss', 'predict')) if case != ('BoundarySegmentor', 'predict')]


@pytest.mark.parametrize(('name', 'mode'), NEEDING)
def test_a_model_without_its_samples_names_what_is_missing(name, mode):
    model, batch = CASES[name]()
    with pytest.raises(ValueError, match=f'{name}: .*got no data_samples'):
        model(batch['inputs'], mode=mode)
