"""Steps of the array calibration: from files of events to cross-calibrated coefficients."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from astropy.table import Table

from cal_pipeline.cherenkov.array_files import CLASSIFICATIONS, LAYOUT, TELESCOPE_EVENTS
from cal_pipeline.cherenkov.configuration import Configuration, resolve
from cal_pipeline.cherenkov.errors import (
    ConfigurationError,
    CorruptedInputError,
    MissingInputError,
    TooFewEventsError,
)
from cal_pipeline.cherenkov.hdf5 import read_attributes, read_table, write_tables
from cal_pipeline.cherenkov.simulate.array import (
    CLASSIFIER,
    GEOMETRY,
    REGRESSOR,
    ArrayConfig,
    make_tables,
    simulate_array,
    simulate_events,
)
from cal_pipeline.core.errors import OutputExistsError
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.steps.cherenkov import CrossCalibrationStep, EnergyAsymmetryStep, InterCalibrationStep
from cal_pipeline.steps.cherenkov.cross_calibration import COEFFICIENTS, FACTORS, INTER
from cal_pipeline.steps.cherenkov.energy_asymmetry import NODE

pytestmark = pytest.mark.cherenkov

REFERENCES = "LST:1,MST:4,SST:8"
ENERGY = f"{REGRESSOR}_tel_energy"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two observations, their asymmetries, throughputs and cross factors."""
    folder = tmp_path_factory.mktemp("array")
    for name in ("events", "asymmetries"):
        (folder / name).mkdir()
    for obs_id in (7, 9):
        config = ArrayConfig(n_events=1500, obs_id=obs_id)
        events = simulate_array(folder / "events" / f"{obs_id}.dl2.h5", config, seed=obs_id)
        run_asymmetry(events, folder / "asymmetries", output_url=f"{obs_id}.h5")
    run_inter(folder / "asymmetries", folder)
    shutil.copy(folder / "monitoring_inter_calibration.h5", folder / "inter.h5")
    return folder


def run_asymmetry(events, output, **settings):
    return EnergyAsymmetryStep.call(str(events), output_path=str(output), configure_log=False, **settings)


def run_inter(source, output, **settings):
    settings = {"reference_telescopes": REFERENCES, **settings}
    return InterCalibrationStep.call(str(source), output_path=str(output), configure_log=False, **settings)


def run_cross(made, tmp_path, **settings):
    path = tmp_path / "inter.h5"
    if not path.exists():
        shutil.copy(made / "inter.h5", path)
    settings = {"input_data_url": str(made / "events"), **settings}
    return CrossCalibrationStep.call(str(path), configure_log=False, **settings)


def write_events(path, change=None, config=None, seed=1):
    """Write simulated events, with a change of their tables."""
    config = config or ArrayConfig(n_events=300)
    tables = make_tables(config, simulate_events(config, seed))
    if change:
        change(tables)
    write_tables(path, tables, "test", {}, overwrite=True)
    return path


def energy_node(tel_id):
    return f"{TELESCOPE_EVENTS}/energy/{REGRESSOR}/tel_{tel_id:03d}"


def test_asymmetries_have_the_columns_that_are_promised(made):
    table = read_table(made / "asymmetries" / "7.h5", NODE)
    assert table.colnames == [
        *("obs_id", "event_id", "tel_type", "tel_id_1", "tel_id_2", f"{ENERGY}_1", f"{ENERGY}_2", "energy_asymmetry"),
        *(f"{ENERGY}_uncert_1", f"{ENERGY}_uncert_2", "energy_asymmetry_uncertainty"),
    ]
    assert np.all(table["tel_id_1"] < table["tel_id_2"])
    assert str(table[f"{ENERGY}_1"].unit) == "TeV"
    assert set(np.asarray(table["tel_type"]).astype(str)) == {"LST", "MST", "SST"}
    assert read_attributes(made / "asymmetries" / "7.h5")["obs_id"].tolist() == [7]


def test_asymmetries_are_those_of_the_events_that_pass_the_cuts(made):
    """Count the pairs of telescopes 1 and 2 event by event."""
    events = simulate_events(ArrayConfig(n_events=1500, obs_id=7), seed=7)
    good = {
        (row["tel_id"], row["event_id"]): (row["energy"], row["distance"])
        for row in events
        if row["is_valid"] and row["gammaness"] > 0.5 and row["energy"] > 0.05
    }
    expected = {}
    for event in range(1, 1501):
        if (1, event) in good and (2, event) in good:
            (e1, d1), (e2, d2) = good[1, event], good[2, event]
            if abs(d2 - d1) / (d1 + d2) < 0.05:
                expected[event] = (e1 - e2) / (e1 + e2)
    table = read_table(made / "asymmetries" / "7.h5", NODE)
    rows = table[(table["tel_id_1"] == 1) & (table["tel_id_2"] == 2)]
    assert dict(zip(rows["event_id"].tolist(), rows["energy_asymmetry"].tolist(), strict=True)) == pytest.approx(
        expected
    )
    assert len(expected) > 20


def test_pairs_of_low_energy_are_left_out(made, tmp_path):
    table = run_asymmetry(made / "events" / "7.dl2.h5", tmp_path, pair_energy_min=3.0)
    every = read_table(made / "asymmetries" / "7.h5", NODE)
    mean = np.sqrt(np.asarray(every[f"{ENERGY}_1"]) * np.asarray(every[f"{ENERGY}_2"]))
    assert len(table) == np.count_nonzero(mean > 3.0)
    assert np.any(np.minimum(table[f"{ENERGY}_1"], table[f"{ENERGY}_2"]) < 3.0)
    counts = [
        run_cross(made, tmp_path, pair_energy_min=limit, overwrite=True)["scaling_factors"]["n_ratios"]
        for limit in (0.0, 3.0)
    ]
    assert np.all(counts[1] < 0.7 * counts[0])


def test_energies_near_the_cut_are_warned_of(made, tmp_path, caplog):
    events = made / "events" / "7.dl2.h5"
    run_asymmetry(events, tmp_path / "far")
    assert "near energy_min" not in caplog.text
    run_asymmetry(events, tmp_path / "near", energy_min=1.0)
    assert "near energy_min = 1 TeV" in caplog.text
    caplog.clear()
    run_asymmetry(events, tmp_path / "cut", energy_min=1.0, pair_energy_min=2.0)
    assert "near energy_min" not in caplog.text


def test_throughputs_come_back(made):
    config, table = ArrayConfig(), read_table(made / "inter.h5", INTER)
    assert table.colnames == ["tel_type", "tel_id", "value", "error", "n_pairs", "covariance"]
    assert table["tel_id"].tolist() == config.place().tel_id.tolist()
    first = np.array([0, 0, 0, 3, 3, 3, 3, 7, 7, 7])
    truth = config.throughputs / config.throughputs[first]
    free = np.asarray(table["error"]) > 0
    assert (~free).tolist() == [index in (0, 3, 7) for index in range(10)]
    assert np.all(np.abs(table["value"] - truth)[free] < 4.5 * np.asarray(table["error"])[free])
    covariance = np.asarray(table["covariance"])
    np.testing.assert_allclose(np.sqrt(np.diagonal(covariance)), table["error"])
    assert not covariance[:3, 3:].any()
    assert table["n_pairs"].tolist() == [2, 2, 2, 3, 3, 3, 3, 2, 2, 2]
    assert read_attributes(made / "inter.h5")["obs_id"].tolist() == [7, 9]


def test_cross_factors_come_back_and_scale_the_throughputs(made, tmp_path):
    products = run_cross(made, tmp_path)
    factors, coefficients = read_table(tmp_path / "inter.h5", FACTORS), read_table(tmp_path / "inter.h5", COEFFICIENTS)
    inter = read_table(tmp_path / "inter.h5", INTER)
    assert products["scaling_factors"]["scaling_factor"].tolist() == factors["scaling_factor"].tolist()
    assert products["coefficients"]["error"].tolist() == coefficients["error"].tolist()
    for kind, factor in zip(("LST", "SST"), factors, strict=True):
        assert (factor["tel_type"], factor["tel_ref"]) == (kind, "MST")
        true = ArrayConfig().find_factor(kind, "MST")
        assert abs(factor["scaling_factor"] - true) < 4 * factor["scaling_factor_uncertainty"]
        assert factor["n_ratios"] > factor["n_events"] > 1000
        rows = np.asarray(inter["tel_type"]).astype(str) == kind
        np.testing.assert_allclose(coefficients["value"][rows], inter["value"][rows] * factor["scaling_factor"])
    of_reference = slice(3, 7)
    np.testing.assert_array_equal(coefficients["value"][of_reference], inter["value"][of_reference])
    np.testing.assert_allclose(coefficients["error"][of_reference], inter["error"][of_reference])


def test_the_published_weighting_scales_by_the_mean_throughput_of_the_references(made, tmp_path):
    (tmp_path / "peer").mkdir()
    plain = run_cross(made, tmp_path)["scaling_factors"]
    peer = run_cross(made, tmp_path / "peer", weighting="peer")["scaling_factors"]
    values = np.asarray(read_table(made / "inter.h5", INTER)["value"])[3:7]
    ratio = peer["scaling_factor"] / plain["scaling_factor"]
    assert np.all((ratio > values.min()) & (ratio < values.max()))
    np.testing.assert_allclose(ratio, values.mean(), atol=0.005)
    assert np.all(peer["n_ratios"] == plain["n_ratios"])


def test_throughputs_without_covariance_count_as_independent(made, tmp_path):
    table = read_table(made / "inter.h5", INTER)
    table.remove_column("covariance")
    write_tables(tmp_path / "inter.h5", {INTER: table}, "test", {}, attributes={"obs_id": np.array([7, 9])})
    factors = run_cross(made, tmp_path)["scaling_factors"]
    assert len(factors) == 2
    provenance = json.loads(read_attributes(tmp_path / "inter.h5")["provenance_calibpipe-cross-calibration"])
    assert "no column covariance" in json.dumps(provenance)


def test_a_telescope_without_a_throughput_makes_no_ratio(made, tmp_path):
    table = read_table(made / "inter.h5", INTER)
    rows = table["tel_id"] != 6
    table = table[rows]
    table["covariance"] = np.asarray(table["covariance"])[:, np.asarray(rows)]
    write_tables(tmp_path / "inter.h5", {INTER: table}, "test", {}, attributes={"obs_id": np.array([7, 9])})
    (tmp_path / "all").mkdir()
    fewer, whole = run_cross(made, tmp_path)["scaling_factors"], run_cross(made, tmp_path / "all")["scaling_factors"]
    assert np.all(fewer["n_ratios"] < whole["n_ratios"])


CRITERIA = [
    ["energy threshold", f"{ENERGY} > 50 * u.GeV"],
    ["gammaness", f"{CLASSIFIER}_tel_prediction > 0.5"],
    ["valid reco", f"{REGRESSOR}_tel_is_valid"],
]
IMPACT = [["type", "LST*", 125.0], ["type", "MST*", 125.0], ["type", "SST*", 225.0]]
RECONSTRUCTORS = {
    "energy_reconstructor": REGRESSOR,
    "geometry_reconstructor": GEOMETRY,
    "gammaness_reconstructor": CLASSIFIER,
}
LIMITS = [["type", "LST*", 0.05], ["type", "MST*", 0.05], ["type", "SST*", 0.05]]
HANDLERS = {"QualityQuery": {"quality_criteria": CRITERIA}, "PairFinder": {"max_impact_distance": IMPACT}}
STEPS = (EnergyAsymmetryStep, InterCalibrationStep, CrossCalibrationStep)


def configure(step, values):
    config = Configuration()
    config.add(values, "file published.yaml")
    found = resolve(config, step.tool, step.own_parameters(), [one.tool for one in STEPS])
    return step.from_configuration(found.parameters, found.origins), found


def test_published_configurations_make_what_the_defaults_make(made, tmp_path):
    """Configure the three tools as the files of the published package do."""
    section = {"event_filters": {"max_distance_asymmetry": LIMITS}, "chunk_size": 100000, **RECONSTRUCTORS}
    events = str(made / "events" / "7.dl2.h5")
    given = {"input_url": events, "output_url": str(tmp_path / "asymmetry.h5")}
    step, found = configure(EnergyAsymmetryStep, {"CalculateEnergyAsymmetry": {**section, **given}, **HANDLERS})
    assert (found.source, len(found.ignored)) == (events, 1)
    table, default = step.run(events), read_table(made / "asymmetries" / "7.h5", NODE)
    assert table["energy_asymmetry"].tolist() == default["energy_asymmetry"].tolist()

    fitter = {"throughput_normalisation": {"LST": 1.0, "MST": 1.0, "SST": 1.0}}
    fitter["reference_telescopes"] = {"LST": 1, "MST": 4, "SST": 8}
    given = {"asymmetry_label": "energy_asymmetry", "output_url": str(tmp_path / "inter.h5"), "overwrite": True}
    step, _ = configure(InterCalibrationStep, {"CalculateInterCalibration": given, "RelativeThroughputFitter": fitter})
    table = step.run(str(made / "asymmetries"))
    assert table["value"].tolist() == read_table(made / "inter.h5", INTER)["value"].tolist()

    section = {"overwrite": True, **RECONSTRUCTORS, "min_triggered_telescopes_per_subsystem": 2, "chunk_size": 100000}
    section |= {"reference_subsystem": "MST", "input_data_url": str(made / "events")}
    step, found = configure(CrossCalibrationStep, {"CalculateCrossCalibration": section, **HANDLERS})
    assert len(found.ignored) == 1
    assert step.run(str(tmp_path / "inter.h5"))["scaling_factors"]["tel_type"].tolist() == ["LST", "SST"]


def test_criteria_take_the_place_of_the_cuts(made, tmp_path):
    energies = [f"{ENERGY} > 1 * u.TeV & {ENERGY} < 2 * u.TeV & {GEOMETRY}_tel_impact_distance < 80 * u.m"]
    table = run_asymmetry(made / "events" / "7.dl2.h5", tmp_path, quality_criteria=energies)
    found = np.concatenate([table[f"{ENERGY}_1"], table[f"{ENERGY}_2"]])
    assert found.min() > 1
    assert found.max() < 2
    with pytest.raises(ConfigurationError, match="energy_min given beside quality_criteria"):
        run_asymmetry(made / "events" / "7.dl2.h5", tmp_path / "b", quality_criteria=energies, energy_min=0.1)


def test_other_units_and_groups_of_older_files_are_understood(tmp_path):
    def change(tables):
        for node in list(tables):
            table = tables[node]
            if "/energy/" in node:
                for name in (ENERGY, f"{ENERGY}_uncert"):
                    table[name] = np.asarray(table[name]) * 1000
                    table[name].unit = "GeV"
            if CLASSIFICATIONS[0] in node:
                # Rows in another order, one event fewer.
                tables[node.replace(*CLASSIFICATIONS)] = tables.pop(node)[:0:-1]

    plain = run_asymmetry(write_events(tmp_path / "a.h5"), tmp_path, output_url="a_asymmetry.h5")
    changed = run_asymmetry(write_events(tmp_path / "b.h5", change), tmp_path, output_url="b_asymmetry.h5")
    there = np.isin(plain["event_id"], changed["event_id"])
    assert 0.9 < len(changed) / len(plain) <= 1
    assert set(changed["energy_asymmetry"].round(12)) <= set(plain["energy_asymmetry"][there].round(12))


def remove_column(name, part):
    def change(tables):
        for node, table in tables.items():
            if part in node:
                table.remove_column(name)

    return change


def remove_tables(part):
    def change(tables):
        for node in [node for node in tables if part in node]:
            del tables[node]

    return change


def repeat_event(tables):
    node = energy_node(2)
    tables[node] = Table(np.concatenate([tables[node].as_array(), tables[node].as_array()[:1]]))


@pytest.mark.parametrize(
    ("change", "error", "status", "message"),
    [
        (remove_column(f"{ENERGY}_uncert", "/energy/"), CorruptedInputError, 104, f"no column {ENERGY}_uncert"),
        (remove_column("event_id", "/particle_type/"), CorruptedInputError, 104, "particle_type.*no column event_id"),
        (remove_column("pos_z", LAYOUT), CorruptedInputError, 104, "no column pos_z"),
        (remove_tables("/energy/"), MissingInputError, 105, f"no table in {TELESCOPE_EVENTS}/energy/{REGRESSOR}"),
        (remove_tables("/impact/"), MissingInputError, 105, "impact"),
        (remove_tables("/particle_type/"), MissingInputError, 105, "particle_type"),
        (remove_tables(LAYOUT), MissingInputError, 105, "layout"),
        (repeat_event, CorruptedInputError, 104, "twice"),
    ],
)
def test_files_that_lack_something_are_refused(tmp_path, change, error, status, message):
    path = write_events(tmp_path / "bad.h5", change)
    with pytest.raises(error, match=message) as caught:
        run_asymmetry(path, tmp_path)
    assert caught.value.exit_status == status
    assert "bad.h5" in str(caught.value)
    assert not (tmp_path / "asymmetry.h5").exists()


def test_no_events_of_pairs_are_too_few(tmp_path):
    path = write_events(tmp_path / "events.h5")
    with pytest.raises(TooFewEventsError, match="no event of a pair passes the cuts") as caught:
        run_asymmetry(path, tmp_path, max_impact_distance="*:1")
    assert caught.value.exit_status == 106


def test_products_that_exist_stay(made, tmp_path):
    for run in (
        lambda: run_asymmetry(made / "events" / "7.dl2.h5", made / "asymmetries", output_url="7.h5"),
        lambda: run_inter(made / "asymmetries", made),
    ):
        with pytest.raises(OutputExistsError) as caught:
            run()
        assert caught.value.exit_status == 102
    run_cross(made, tmp_path)
    before = (tmp_path / "inter.h5").read_bytes()
    with pytest.raises(OutputExistsError) as caught:
        run_cross(made, tmp_path)
    assert caught.value.exit_status == 102
    assert (tmp_path / "inter.h5").read_bytes() == before
    run_cross(made, tmp_path, overwrite=True)


def test_a_cross_calibration_with_replaced_throughputs_is_warned_of(made, tmp_path):
    run_cross(made, tmp_path)
    factors = read_table(tmp_path / "inter.h5", FACTORS)
    run_inter(made / "asymmetries", tmp_path, output_url="inter.h5", overwrite=True)
    assert read_table(tmp_path / "inter.h5", FACTORS)["scaling_factor"].tolist() == factors["scaling_factor"].tolist()
    provenance = read_attributes(tmp_path / "inter.h5")["provenance_calibpipe-inter-calibration"]
    assert "keeps the cross-calibration" in str(provenance)


def write_asymmetries(folder, rows):
    """Write asymmetries of (type, tel_1, tel_2, values)."""
    columns = [(kind, one, two, value) for kind, one, two, values in rows for value in values]
    table = Table(rows=columns, names=("tel_type", "tel_id_1", "tel_id_2", "energy_asymmetry"))
    table["obs_id"] = 4
    folder.mkdir(exist_ok=True)
    write_tables(folder / "asymmetry.h5", {NODE: table}, "test", {}, overwrite=True)
    return folder


GOOD = [0.01, 0.02, 0.03]


def test_telescopes_without_a_chain_to_the_reference_are_noted(tmp_path):
    folder = write_asymmetries(tmp_path / "a", [("MST", 1, 2, GOOD), ("MST", 5, 6, GOOD), ("MST", 2, 9, GOOD[:1])])
    step = InterCalibrationStep(reference_telescopes=["MST:1"], output_path=str(tmp_path))
    table = step.run(str(folder))
    assert np.isnan(table["value"]).tolist() == [False, False, True, True, True]
    assert table["n_pairs"].tolist() == [1, 1, 1, 1, 0]
    assert table["value"][1] == pytest.approx(0.98 / 1.02)
    assert step.exit_status == 106
    assert read_attributes(tmp_path / "monitoring_inter_calibration.h5")["obs_id"].tolist() == [4]


def test_pairs_of_few_events_are_warned_of(tmp_path):
    folder = write_asymmetries(tmp_path / "a", [("MST", 1, 2, GOOD), ("MST", 1, 3, 4 * GOOD)])
    run_inter(folder, tmp_path, reference_telescopes="MST:1")
    provenance = read_attributes(tmp_path / "monitoring_inter_calibration.h5")["provenance_calibpipe-inter-calibration"]
    assert "MST: 1 of 2 pairs have fewer than 10 events" in str(provenance)


@pytest.mark.parametrize("values", [[0.01], [0.02, 0.02, 0.02]])
def test_pairs_without_spread_do_not_take_all_weight(tmp_path, values):
    folder = write_asymmetries(tmp_path / "a", [("MST", 1, 2, GOOD), ("MST", 1, 3, GOOD), ("MST", 2, 3, values)])
    table = run_inter(folder, tmp_path, reference_telescopes="MST:1")
    assert table["value"].tolist() == pytest.approx([1, 0.98 / 1.02, 0.98 / 1.02])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reference_telescopes": "LST:1"}, "no telescope for MST; expected one of 1, 2, 3"),
        ({"reference_telescopes": "MST:7"}, "reference telescope 7 of MST has no pair"),
        ({"reference_telescopes": "MST:3"}, "reference telescope 3 of MST has no pair"),
        ({"reference_telescopes": "MST:one"}, "'one'; expected a telescope number"),
        ({"reference_telescopes": "MST:1", "throughput_normalisation": "MST:-1"}, "expected a positive number"),
        ({"reference_telescopes": "MST:1", "throughput_normalisation": "LST:1"}, "has no value for MST"),
    ],
)
def test_references_that_do_not_fit_are_refused(tmp_path, settings, message):
    folder = write_asymmetries(tmp_path / "a", [("MST", 1, 2, GOOD), ("MST", 2, 3, GOOD[:1])])
    with pytest.raises(ConfigurationError, match=message) as caught:
        run_inter(folder, tmp_path, **settings)
    assert caught.value.exit_status == 101


def test_a_folder_without_asymmetries_is_missing_input(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(MissingInputError, match="no files of asymmetries"):
        run_inter(tmp_path / "a", tmp_path)
    folder = write_asymmetries(tmp_path / "b", [("MST", 1, 2, [0.1, np.nan])])
    with pytest.raises(CorruptedInputError, match="energy_asymmetry is not finite"):
        run_inter(folder, tmp_path)


def test_other_observations_are_refused(made, tmp_path):
    (tmp_path / "events").mkdir()
    shutil.copy(made / "events" / "7.dl2.h5", tmp_path / "events")
    with pytest.raises(CorruptedInputError, match="events of observations 7; expected 7, 9") as caught:
        run_cross(made, tmp_path, input_data_url=str(tmp_path / "events"))
    assert caught.value.exit_status == 104


def test_other_arrays_are_refused(made, tmp_path):
    shutil.copytree(made / "events", tmp_path / "events")

    def move(tables):
        tables[LAYOUT]["pos_x"][0] += 1

    write_events(tmp_path / "events" / "7.dl2.h5", move, ArrayConfig(n_events=100, obs_id=7))
    with pytest.raises(CorruptedInputError, match="other telescopes than"):
        run_cross(made, tmp_path, input_data_url=str(tmp_path / "events"))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"reference_subsystem": "XST"}, "has telescopes LST, MST, SST; expected some of XST"),
        ({"reference_subsystem": ""}, "telescopes LST, MST, SST only; expected two types"),
        ({"min_triggered_telescopes_per_subsystem": 5}, "no event in common of MST and LST, SST, with 5 telescopes"),
        ({"max_impact_distance": "*:1"}, "no event in common"),
        ({"gammaness_min": 1.5}, "no event passes the cuts"),
        ({"input_data_url": "nowhere"}, "the folder of events .*nowhere is not there"),
    ],
)
def test_events_that_make_no_factor_are_missing_input(made, tmp_path, settings, message):
    with pytest.raises(MissingInputError, match=message) as caught:
        run_cross(made, tmp_path, **settings)
    assert caught.value.exit_status == 105


def test_a_type_without_common_events_gets_no_coefficients(made, tmp_path):
    shutil.copy(made / "inter.h5", tmp_path / "inter.h5")
    settings = {"input_data_url": str(made / "events"), "max_impact_distance": ["LST:1", "MST:1", "SST:300"]}
    step = CrossCalibrationStep(**settings)
    products = step.run(str(tmp_path / "inter.h5"))
    assert products["scaling_factors"]["tel_type"].tolist() == ["SST"]
    assert np.isnan(products["coefficients"]["value"]).tolist() == [True] * 3 + [False] * 7
    assert step.exit_status == 106


def test_the_folder_of_events_must_be_given(made, tmp_path):
    with pytest.raises(ConfigurationError, match="input_data_url is not given"):
        run_cross(made, tmp_path, input_data_url=None)


@pytest.mark.parametrize(
    "settings", [{"quality_criteria": "open('x')"}, {"max_impact_distance": "LST"}, {"max_impact_distance": "LST:far"}]
)
def test_parameters_that_are_none_are_configuration_errors(made, tmp_path, settings):
    with pytest.raises((ConfigurationError, ParameterError)) as caught:
        run_asymmetry(made / "events" / "7.dl2.h5", tmp_path, **settings)
    assert str(next(iter(settings.values()))).removeprefix("LST:") in str(caught.value)
