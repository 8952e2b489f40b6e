"""Names, axes and attributes of the product."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cal_pipeline.core.json_values import make_json_ready
from cal_pipeline.heterodyne.physics.flags import Flag
from cal_pipeline.heterodyne.product import CalibratedSession
from cal_pipeline.heterodyne.schema import EXTRA_ATTRIBUTES, L1, L1_ARRAYS, L1_COORDINATES

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.floats(width=32).map(np.float32),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
    max_leaves=8,
)


@pytest.mark.slow
@given(values)
@settings(deadline=None, max_examples=50)
def test_any_attribute_becomes_strict_json(value):
    text = json.dumps(make_json_ready(value), allow_nan=False)
    assert json.loads(text) == make_json_ready(value)


def test_what_is_not_finite_is_null():
    found = make_json_ready({"a": np.array([1.0, np.nan]), "b": (np.inf, np.int32(3)), 5: {"c": np.True_}})
    assert found == {"a": [1.0, None], "b": [None, 3], "5": {"c": True}}
    assert type(found["b"][1]) is int


@pytest.mark.parametrize("name", L1_ARRAYS)
def test_every_axis_list_of_an_array_has_its_own_length(name):
    spec = L1_ARRAYS[name]
    assert len({len(dims) for dims in spec.dims}) == len(spec.dims)
    assert [spec.dims_of(len(dims)) for dims in spec.dims] == list(spec.dims)
    with pytest.raises(ValueError, match="7 axes"):
        spec.dims_of(7)


@pytest.mark.parametrize("name", L1_ARRAYS)
def test_coordinates_are_those_that_lie_in_the_axes(name):
    present = set(L1_ARRAYS)
    for dims in L1_ARRAYS[name].dims:
        named = L1.attributes_of(name, dims, present).get("coordinates", "").split()
        if name in L1_COORDINATES:
            assert named == []
        else:
            assert set(named) == {c for c in L1_COORDINATES if set(L1_COORDINATES[c]) <= set(dims)}
        assert "mjd" not in L1.attributes_of(name, dims, present - {"mjd"}).get("coordinates", "").split()


def test_flag_bits_are_those_of_the_format():
    names = (
        "BAD_CHANNEL FILL_VALUE SPIKE RFI TSYS_OUTLIER ELEVATION_LOW ML_FLAGGED MANUAL SKY_OUTLIER NOISY BASELINE_BAD"
    )
    assert EXTRA_ATTRIBUTES["flags"] == {"flag_masks": [2**k for k in range(11)], "flag_meanings": names}
    assert [int(flag) for flag in Flag] == [2**k for k in range(11)]


def test_a_store_that_is_not_there(tmp_path):
    with pytest.raises(Exception, match="is no L1 store"):
        CalibratedSession(tmp_path / "none.zarr")
