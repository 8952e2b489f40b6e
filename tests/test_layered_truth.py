"""The calibration under a sky that gets colder with height: the figures of docs/physics_notes.rst."""

from __future__ import annotations

import numpy as np
import pytest

from cal_pipeline import CalibrationPipeline
from cal_pipeline.simulate import Atmosphere, Layers, Line, Source, preset, read_truth, simulate

AMBIENT = 268.0
OF_THE_TABLE = Layers(lapse_rate=5.6, wet_scale_km=1.25)
STANDARD = Layers()


@pytest.fixture
def error(tmp_path):
    """Return the median relative error of T_A* with one layer at `t_atm` [K]."""

    def measure(name: str, sky: Atmosphere, t_atm: float = AMBIENT) -> float:
        config = preset(
            name,
            channels=128,
            pixels=1,
            noise=False,
            dtype="float64",
            lines=(Line(10.0, sidebands="signal"),),
            source=Source(elevation_deg=55.0),
            atmosphere=sky,
        )
        session = simulate(config, tmp_path / "s.zarr", overwrite=True).session
        product = CalibrationPipeline.call(
            str(session),
            output_file=str(tmp_path / "l1.zarr"),
            overwrite=True,
            configure_log=False,
            steps={"loads": {"forward_efficiency": 0.95}, "atmosphere": {"t_atm": t_atm}},
        )
        scan = product.open_scan(1).load()
        ratio = scan.spectra.values / read_truth(session, 1).t_a_star()
        return float(np.median(ratio[scan.flags.values == 0])) - 1.0

    return measure


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "pwv", "of_the_table", "standard"),
    [
        ("ccat_chai", 0.25, -0.009, -0.013),
        ("ccat_chai", 0.5, -0.018, -0.025),
        ("ccat_chai", 1.0, -0.039, -0.055),
        ("ccat_chai_810", 0.25, -0.023, -0.031),
        ("ccat_chai_810", 0.5, -0.042, -0.058),
        ("ccat_chai_810", 1.0, -0.097, -0.133),
    ],
)
def test_one_layer_at_ambient_temperature_makes_t_a_star_too_low(error, name, pwv, of_the_table, standard):
    for layers, expected in ((OF_THE_TABLE, of_the_table), (STANDARD, standard)):
        assert error(name, Atmosphere(pwv_mm=pwv, layers=layers)) == pytest.approx(expected, rel=0.03, abs=0.001)


@pytest.mark.slow
def test_five_kelvin_less_halve_the_error_or_better(error):
    for name in ("ccat_chai", "ccat_chai_810"):
        for layers, limit in ((OF_THE_TABLE, 0.01), (STANDARD, 0.027)):
            assert abs(error(name, Atmosphere(pwv_mm=0.5, layers=layers), AMBIENT - 5.0)) < limit


@pytest.mark.slow
@pytest.mark.parametrize(("pwv", "expected"), [(0.5, -0.006), (1.0, -0.018), (2.0, -0.063)])
def test_two_kelvin_in_t_atm(error, pwv, expected):
    assert error("ccat_chai", Atmosphere(pwv_mm=pwv), AMBIENT + 2.0) == pytest.approx(expected, abs=0.002)
