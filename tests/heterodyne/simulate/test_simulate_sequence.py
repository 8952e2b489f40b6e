import numpy as np
import pytest

from cal_pipeline.simulate import Loads, Otf, SimulationError, TotalPower


def test_total_power_repeats_its_pattern():
    sequence = TotalPower(pattern=("ON", "OFF"), cycles=2, dumps=3, exptime=2.0, off_exptime=5.0)
    phases = sequence.phases()
    assert [phase.sobsmode for phase in phases] == ["ON", "OFF", "ON", "OFF"]
    assert [phase.kind for phase in phases] == ["on", "off", "on", "off"]
    assert [phase.exptime for phase in phases] == [2.0, 5.0, 2.0, 5.0]
    assert {phase.dumps for phase in phases} == {3}
    assert phases[1].lon.tolist() == [0.5, 0.5, 0.5]


def test_a_map_has_an_off_before_every_few_rows_and_one_at_the_end():
    names = [phase.sobsmode for phase in Otf(rows=5, rows_per_off=2, dumps=4).phases()]
    on, off = "OTF-ON", "OTF-OFF"
    assert names == [off, on, on, off, on, on, off, on, off]


@pytest.mark.parametrize("direction", ["lon", "lat"])
def test_rows_run_along_their_direction(direction):
    sequence = Otf(rows=3, dumps=5, step_deg=0.1, row_step_deg=0.2, direction=direction, zigzag=False)
    rows = [phase for phase in sequence.phases() if phase.kind == "on"]
    along = np.array([phase.lon if direction == "lon" else phase.lat for phase in rows])
    across = np.array([phase.lat if direction == "lon" else phase.lon for phase in rows])
    np.testing.assert_allclose(along, np.tile([-0.2, -0.1, 0.0, 0.1, 0.2], (3, 1)), atol=1e-12)
    np.testing.assert_allclose(across[:, 0], [-0.2, 0.0, 0.2], atol=1e-12)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TotalPower(pattern=("ON", "REF")), "only"),
        (lambda: TotalPower(dumps=0), "at least 1"),
        (lambda: TotalPower(exptime=0.0), "positive"),
        (lambda: Otf(direction="up"), "lon"),
        (lambda: Otf(rows_per_off=0), "at least 1"),
        (lambda: Loads(pattern=("WARM",)), "HOT, COL"),
        (lambda: Loads(t_hot=70.0, t_cold=77.0), "below"),
    ],
)
def test_what_cannot_be_observed_is_refused(make, message):
    with pytest.raises(SimulationError, match=message):
        make()
