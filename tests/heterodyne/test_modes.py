"""Observing modes: what they match, their ONs and OFFs, and how a mode is added."""

from __future__ import annotations

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import zarr
from helpers_l0 import write_array

import cal_pipeline
from cal_pipeline import CalibrationPipeline
from cal_pipeline.errors import CalibrationError, LayoutError, NoReferenceError
from cal_pipeline.heterodyne.modes import (
    MODES,
    Mode,
    Pairing,
    determine_mode,
    mode_named,
    pair_with_single_offs,
    register_mode,
    resolve_alias,
)
from cal_pipeline.heterodyne.phases import find_phases
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.simulate import Line, TotalPower, preset, read_truth
from cal_pipeline.steps import PrepareStep

LINE = Line(20.0, fwhm_hz=0.4e9)
TOTAL_POWER, CHOPPED = MODES["total_power"], MODES["otf_chopped"]


@pytest.mark.parametrize(
    ("phases", "instmode", "mode"),
    [
        (["ON", "OFF"], "TP", "total_power"),
        (["ON", "OFF"], "", "total_power"),
        (["ON", "OFF"], "otf", "otf"),
        (["OTF-ON", "OTF-OFF"], "", "otf"),
        (["ON", "OTF-OFF"], "TP", "otf"),
        (["otf-on", "otf-off"], "TP", "otf"),
        (["OTFSWA-ON", "OTFSWA-OFF"], "OTF", "otf_chopped"),
        (["SWB-ON", "SWB-OFF"], "TP", "otf_chopped"),
        (["ON", "OFF", "OTFSWB-OFF"], "TP", "otf_chopped"),
        (["ON", "OFF", "OTF-MOON"], "TP", "total_power"),
    ],
)
def test_mode_follows_from_phases_and_instmode(phases, instmode, mode):
    assert determine_mode(np.array(phases), instmode).name == mode


def test_on_and_off():
    phases = np.array(["ON", "OTF-ON", "OTFSWA-ON", "OFF", "OTF-OFF", "SWB-OFF", "HOT", "SKY", "on"])
    assert TOTAL_POWER.find_ons(phases).tolist() == [True] * 3 + [False] * 5 + [True]
    assert TOTAL_POWER.find_offs(phases).tolist() == [False] * 3 + [True] * 3 + [False] * 3
    assert np.flatnonzero(CHOPPED.find_ons(phases)).tolist() == [2]
    assert np.flatnonzero(CHOPPED.find_offs(phases)).tolist() == [5]


@pytest.mark.parametrize("phase", ["TRANSITION", "MOON", "SKY-OFF", "SWA-SKY", "SWC-ON", "ON1", ""])
def test_what_only_looks_like_a_phase_is_none(phase):
    phases = np.array([phase, "ON", "OFF"])
    assert TOTAL_POWER.find_ons(phases).tolist() == [False, True, False]
    assert TOTAL_POWER.find_offs(phases).tolist() == [False, False, True]
    assert determine_mode(phases, "TP") is TOTAL_POWER


def test_the_first_on_is_the_earliest():
    phases = np.array(["OFF", "ON", "ON", "OFF"])
    assert TOTAL_POWER.find_first_on(phases, np.array([0.0, 2.0, 1.0, 3.0])) == 2
    with pytest.raises(NoReferenceError, match="no ON among the phases"):
        TOTAL_POWER.find_first_on(np.array(["OFF"]), np.zeros(1))


def test_a_name_is_taken_once_and_an_unknown_one_refused():
    with pytest.raises(ValueError, match="'otf'"):
        register_mode(type(MODES["otf"]))
    with pytest.raises(CalibrationError, match="'raster' is unknown, expected one of total_power, otf, otf_chopped"):
        mode_named("raster")
    assert [resolve_alias(name) for name in ("TP", "otf", "raster")] == ["total_power", "otf", "raster"]


def _names_of_modes(path: Path) -> list[str]:
    text = path.read_text()
    if not any(name in text for name in MODES):
        return []
    constants = (node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
    return [value for value in constants if isinstance(value, str) and value in MODES]


@pytest.mark.slow
def test_no_other_module_compares_with_the_name_of_a_mode():
    root = Path(cal_pipeline.__file__).parent
    own = {root / "heterodyne" / "modes.py", root / "cli" / "demo.py", root / "cli" / "simulate.py"}
    simulator = root / "heterodyne" / "simulate"
    modules = [path for path in root.rglob("*.py") if path not in own and simulator not in path.parents]
    assert len(modules) > 50
    assert {path: names for path in modules if (names := _names_of_modes(path))} == {}


class Following(Mode):
    """Position switch in pairs, as an example of a mode of an observatory's own: each ON has the OFF after it."""

    name = "following"
    on_phases = ("PSA",)
    off_phases = ("PSB",)
    reference_strategy = "mean of the OFF right after"

    def matches(self, phases: np.ndarray, instmode: str) -> bool:
        return bool(find_phases(phases, ("PSA", "PSB")).any())

    def pair(self, phases: np.ndarray, mjd: np.ndarray, on: np.ndarray, off: np.ndarray, valid: np.ndarray) -> Pairing:
        return pair_with_single_offs(np.searchsorted(mjd[off], mjd[on]), np.full(on.size, ""), valid)


class FollowingDumps(Following):
    """Mode of the one above, dump by dump, while the telescope moves."""

    per_dump = True
    has_dump_positions = True
    reference_strategy = "same dump of the OFF right after"


@pytest.fixture(params=[Following, FollowingDumps])
def mode(request):
    register_mode(request.param)
    yield MODES["following"]
    del MODES["following"]


@pytest.fixture
def session(make_session):
    """A session whose phases no mode of the package knows."""
    level = dataclasses.replace(preset("ccat_chai").source, elevation_deg=55.0)
    sequence = TotalPower(pattern=("ON", "OFF"), cycles=3, dumps=2)
    path = make_session(channels=16, sequence=sequence, source=level, lines=(LINE,), noise=False)
    source = zarr.open_group(path, path="scan_000001/source")
    phases = source["sobsmode"][...].tolist()
    write_array(source, "sobsmode", [{"ON": "PSA", "OFF": "PSB"}[phase] for phase in phases])
    return path


FIXED = {"strategy": "fixed", "pwv": 0.5}


class TestAModeThatIsAdded:
    @pytest.mark.slow
    def test_is_found_and_calibrated(self, mode, session, calibrate):
        assert Session(session).describe(1)["mode"] == "following"
        product = calibrate(session)
        scan, truth = product.open_scan(1).load(), read_truth(session, 1)
        assert scan.attrs["mode"] == "following"
        assert scan.attrs["ref_strategy"] == mode.reference_strategy
        assert ("otf_airmass" in scan.variables) == mode.has_dump_positions
        assert truth.t_a_star().max() > 1.0
        np.testing.assert_allclose(scan.spectra.values, truth.t_a_star(), rtol=1e-3, atol=0.02)

    @pytest.mark.slow
    def test_subtracts_its_own_references(self, mode, session, calibrate):
        before = calibrate(session, "before.zarr", atmosphere=FIXED).open_scan(1).load().spectra.values
        source = zarr.open_group(session, path="scan_000001/source", mode="r+")
        phases = source["sobsmode"][...]
        off = np.flatnonzero(phases == "PSB")[1]
        counts = source["data_5d"]
        counts[:, 1, :, :, off] = counts[:, 1, :, :, off] + 10_000
        after = calibrate(session, "after.zarr", atmosphere=FIXED).open_scan(1).load().spectra.values
        changed = (before != after).any(axis=(0, 2, 3))
        expected = np.zeros_like(changed)
        expected[1 if mode.per_dump else slice(None), 1] = True
        np.testing.assert_array_equal(changed, expected)

    @pytest.mark.slow
    def test_is_an_option_of_the_step(self, mode, session, tmp_path):
        step = PrepareStep(mode="following", output_file=str(tmp_path / "prepared.asdf"), save_results=True)
        step.run(str(session))
        pairing = Scan.open(tmp_path / "prepared.asdf").bands[0].require_pairing()
        assert pairing.per_dump == mode.per_dump
        pipeline = CalibrationPipeline(steps={"prepare": {"mode": "following"}})
        pipeline.prepare.mode = "following"
        assert "'following'" in PrepareStep.load_spec_file()["mode"]

    def test_decides_which_values_are_needed(self, mode, session):
        source = zarr.open_group(session, path="scan_000001/source")
        write_array(source, "elevation", np.full(source["elevation"].shape, np.nan))
        with pytest.raises(LayoutError, match=r"elevation of subscans \[0, 1, 2"):
            Session(session).open_scan(1)

    def test_names_its_phases_where_others_are_left_out(self, mode, session, caplog):
        source = zarr.open_group(session, path="scan_000001/source")
        phases = source["sobsmode"][...].tolist()
        write_array(source, "sobsmode", ["ON", *phases[1:]])
        PrepareStep().run(str(session))
        assert "of phase ON is left out; PSA, PSB take part" in caplog.text


def test_a_mode_that_is_gone_is_no_option(session):
    options = ", ".join(repr(name) for name in ("auto", *MODES))
    with pytest.raises(CalibrationError, match=rf"expected option\({options}, def"):
        PrepareStep(mode="following")
    with pytest.raises(NoReferenceError, match=r"no ON among the phases \['PSA', 'PSB'\]"):
        _ = Session(session).open_scan(1).bands[0].first_on
