"""Every field of every result of a step survives a file."""

from __future__ import annotations

import dataclasses
import inspect
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass

import asdf
import numpy as np
import pytest
from test_scan import assert_alike

from cal_pipeline.heterodyne import stages
from cal_pipeline.heterodyne.physics.loads import LoadMeans
from cal_pipeline.heterodyne.physics.planck import KALIBRATE_COMPAT, Convention
from cal_pipeline.heterodyne.saved_stages import ARRAY, FIELDS, from_tree, to_tree
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.simulate import Loads
from cal_pipeline.simulate import Scan as SimulatedScan
from cal_pipeline.steps import (
    AtmosphereStep,
    CalibrateStep,
    DbsStep,
    GainStep,
    LoadsStep,
    PrepareStep,
    SkychopdiffStep,
    SkydiffStep,
)

FIELDS_OF_CLASSES = [(cls, field.name) for cls in FIELDS for field in dataclasses.fields(cls)]


def kind_of(cls, name):
    """Type of a field, by its annotation; arrays for what has no plain type."""
    hint = typing.get_type_hints(cls)[name]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    origin = typing.get_origin(hint) or hint
    return origin if isinstance(origin, type) and origin not in (np.ndarray, object, typing.Any) else np.ndarray


def example(cls, name):
    """A value of the type of a field."""
    kind = kind_of(cls, name)
    if kind in FIELDS:
        return whole(kind)
    values = {str: name, int: 3, float: 2.5, tuple: (1, 2), dict: {"a": [1, None]}, Convention: KALIBRATE_COMPAT}
    return values.get(kind, np.arange(3.0))


def whole(cls):
    return cls(**{field.name: example(cls, field.name) for field in dataclasses.fields(cls)})


def through_a_file(value, path):
    asdf.AsdfFile({"tree": to_tree(value)}).write_to(path)
    with asdf.open(path, lazy_load=False, memmap=False) as file:
        return from_tree(type(value), file.tree["tree"])


def test_every_class_of_results_is_saved():
    made = {cls for _, cls in inspect.getmembers(stages, dataclasses.is_dataclass) if cls.__module__ == stages.__name__}
    hints = [typing.get_type_hints(cls)[name] for cls, name in FIELDS_OF_CLASSES]
    kinds = {kind for hint in hints for kind in (hint, *typing.get_args(hint)) if isinstance(kind, type)}
    make_nested_converter = {kind for kind in kinds if dataclasses.is_dataclass(kind)}
    assert made | make_nested_converter - {Convention} | {Band} == set(FIELDS)


@pytest.mark.slow
@pytest.mark.parametrize(("cls", "name"), FIELDS_OF_CLASSES)
def test_the_converter_of_a_field_takes_its_type(cls, name):
    kind = kind_of(cls, name)
    converter = FIELDS[cls].get(name, ARRAY)
    assert (converter is ARRAY) == (kind is np.ndarray)
    assert isinstance(example(cls, name), converter.kinds)


def test_no_converter_is_of_a_field_that_is_gone():
    assert {(cls, name) for cls, fields in FIELDS.items() for name in fields} <= set(FIELDS_OF_CLASSES)


@pytest.mark.slow
@pytest.mark.parametrize("cls", FIELDS)
def test_every_field_comes_back(tmp_path, cls):
    value = whole(cls)
    assert_alike(value, through_a_file(value, tmp_path / "stage.asdf"))


def test_a_field_that_is_none_or_missing_has_its_default(tmp_path):
    gain = through_a_file(stages.GainStage(0, None, "no loads"), tmp_path / "stage.asdf")
    assert gain == stages.GainStage(0, None, "no loads")
    tree = {name: value for name, value in to_tree(whole(stages.CalibrationStage)).items() if name != "precision"}
    assert from_tree(stages.CalibrationStage, tree).precision == "lossless"


def test_loads_of_older_files_are_as_their_sensors_said():
    one = np.ones((1, 1, 1))
    means = from_tree(
        LoadMeans, {"hot": one, "cold": one, "hot_time": one, "cold_time": one, "t_hot": 293, "t_cold": 77.5}
    )
    assert (means.hot_input.physical, means.cold_input.physical) == (293, 77.5)
    for load in (means.hot_input, means.cold_input):
        assert (load.offset.tolist(), load.coupling.tolist(), load.ambient) == ([0.0], [1.0], None)
    errors = ("forward_efficiency_err", "t_hot_err", "t_cold_err", "image_gain_err", "assumed")
    tree = {name: value for name, value in to_tree(whole(stages.LoadStage)).items() if name not in errors}
    loads = from_tree(stages.LoadStage, tree)
    assert [getattr(loads, name) for name in errors] == [0.02, 1.0, 2.0, 0.05, ()]


def test_a_field_without_its_converter_is_refused(monkeypatch):
    @dataclass
    class Stage:
        level: str

    monkeypatch.setitem(FIELDS, Stage, {})
    with pytest.raises(TypeError, match=r"Stage\.level is str, expected ndarray"):
        to_tree(Stage("high"))


@pytest.mark.slow
def test_a_scan_with_all_results_comes_back(make_session, atm_table, tmp_path):
    scans = (SimulatedScan(), SimulatedScan(calibration_only=True, loads=Loads(t_hot=294.0)))
    session = make_session(channels=16, mode="otf_chopped", scans=scans)
    steps = (
        LoadsStep(forward_efficiency=0.95, physics="kalibrate_compat"),
        GainStep(level=3),
        PrepareStep(),
        AtmosphereStep(override_atm=str(atm_table)),
        CalibrateStep(precision="radiometric"),
        DbsStep(skip=False),
        SkychopdiffStep(skip=False),
        SkydiffStep(skip=False),
    )
    scan = Session(session).open_scan(1)
    for step in steps:
        scan = step.run(scan)
    band = scan.bands[0]
    results = ("loads", "gain", "pairing", "atmosphere", "calibration", "coupling", "skydiff", "chop")
    assert None not in (getattr(band, name) for name in results)
    path = scan.save(str(tmp_path / "scan.asdf"))
    assert_alike(band, Scan.open(path).bands[0])
    with asdf.open(path) as file:
        tree = file["cal_pipeline_scan"]["bands"][0]
        # Names of older files, which stay.
        assert isinstance(tree["reference"], Mapping)
        assert "moment" in tree["reference"]
