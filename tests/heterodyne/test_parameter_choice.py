"""Choice of parameter files by telescope, frontend and mode."""

from __future__ import annotations

import pytest

from cal_pipeline.core.files import selection
from cal_pipeline.heterodyne.parameter_files import choose_parameter_file

ROW = """
[[choice]]
telescope = "CCAT"
frontend = "CHAI*"
mode = "otf"
parameters = "chai"
purpose = "to test"

[[choice]]
telescope = "*"
frontend = "*"
mode = "otf"
parameters = "any"
purpose = "to test"
"""


@pytest.mark.parametrize(
    ("telescope", "frontend", "mode", "chosen"),
    [
        ("CCAT", "CHAI_LFA", "otf", "chai"),
        ("fyst", "chai", "OTF", "chai"),
        ("SOFIA", "LFA", "otf", "any"),
        (None, None, "otf", "any"),
        ("CCAT", "CHAI_LFA", "total_power", None),
        (None, None, None, None),
    ],
)
def test_a_telescope_goes_by_the_name_of_its_profile(tmp_path, monkeypatch, telescope, frontend, mode, chosen):
    for name in ("chai", "any"):
        (tmp_path / f"{name}.asdf").touch()
    (tmp_path / "selection.toml").write_text(ROW)
    monkeypatch.setattr(selection, "cfg_folder", lambda: tmp_path)
    assert choose_parameter_file(telescope, frontend, mode) == (tmp_path / f"{chosen}.asdf" if chosen else None)
