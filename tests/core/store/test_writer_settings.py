"""Writers of arrays with codecs and fill values of the caller."""

from __future__ import annotations

import numpy as np
import pytest
import zarr

from cal_pipeline.core.store.arrays import create_writer
from cal_pipeline.core.store.codecs import ZSTD_LEVEL_1
from cal_pipeline.core.store.opening import open_store


@pytest.mark.parametrize(("dtype", "fill"), [("int32", -(2**31)), ("float32", 7.0), ("float16", -1.0)])
def test_codecs_and_fill_value_are_those_asked_for(tmp_path, dtype, fill):
    root = open_store(tmp_path, write=True)
    writer = create_writer(root, "values", (5,), (3,), dtype, ("x",), {}, (ZSTD_LEVEL_1,), fill)
    writer.write(np.arange(5))
    (tmp_path / "values" / "c.0").unlink()
    array = zarr.open_array(tmp_path / "values", mode="r")
    assert array.metadata.to_dict()["codecs"][-1] == ZSTD_LEVEL_1
    np.testing.assert_array_equal(array[...], [fill, fill, fill, 3, 4])
