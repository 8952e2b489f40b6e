"""Models can be pickled and copied, with the store that they come from."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

from cal_pipeline.imager import ImageModel, RampModel

pytestmark = pytest.mark.imager


@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda model: pickle.loads(pickle.dumps(model))])
def test_models_of_stores_can_be_pickled(visit, rate_store, duplicate):
    ramp = RampModel.open(f"{visit.visit}/exp_000003")
    np.testing.assert_array_equal(duplicate(ramp).data, ramp.data)
    image = ImageModel.open(f"{rate_store}/exp_000003")
    again = duplicate(image)
    np.testing.assert_array_equal(again.data, image.data)
    assert again.meta == image.meta
    assert again.store.remember("key", lambda: 7) == 7
