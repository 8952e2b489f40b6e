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

from cal_pipeline import CalibrationPipeline
from cal_pipeline.heterodyne import stages
from cal_pipeline.heterodyne.physics.planck import KALIBRATE_COMPAT, Convention
from cal_pipeline.heterodyne.saved_stages import from_tree, to_tree
from cal_pipeline.heterodyne.scan import Band, Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.simulate import Loads
from cal_pipeline.simulate import Scan as SimulatedScan

STAGES = [cls for _, cls in inspect.getmembers(stages, dataclasses.is_dataclass) if cls.__module__ == stages.__name__]


def kind_of(cls, name):
    """Type of a field, by its annotation; arrays for what has no plain type."""
    hint = typing.get_type_hints(cls)[name]
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(kind for kind in typing.get_args(hint) if kind is not type(None))
    origin = typing.get_origin(hint) or hint
    return origin if isinstance(origin, type) and origin not in (np.ndarray, object) else np.ndarray


def example(cls, name):
    """A value of the type of a field."""
    kind = kind_of(cls, name)
    values = {str: name, int: 3, float: 2.5, tuple: (1, 2), dict: {"a": [1, None]}, Convention: KALIBRATE_COMPAT}
    return values[kind] if kind in values else whole(kind) if dataclasses.is_dataclass(kind) else np.arange(3.0)


def whole(cls):
    return cls(**{field.name: example(cls, field.name) for field in dataclasses.fields(cls)})


def through_a_file(value, path):
    asdf.AsdfFile({"tree": to_tree(value)}).write_to(path)
    with asdf.open(path, lazy_load=False, memmap=False) as file:
        return from_tree(type(value), file.tree["tree"])


def test_there_is_a_class_for_each_step_with_a_result():
    assert len(STAGES) >= len(CalibrationPipeline.step_defs)


@pytest.mark.parametrize("cls", [*STAGES, Band])
def test_every_field_comes_back(tmp_path, cls):
    value = whole(cls)
    assert_alike(value, through_a_file(value, tmp_path / "stage.asdf"))


def test_a_field_that_is_none_or_missing_has_its_default(tmp_path):
    gain = through_a_file(stages.GainStage(0, None, "no loads"), tmp_path / "stage.asdf")
    assert gain == stages.GainStage(0, None, "no loads")
    tree = {name: value for name, value in to_tree(whole(stages.CalibrationStage)).items() if name != "precision"}
    assert from_tree(stages.CalibrationStage, tree).precision == "lossless"


def test_a_value_of_another_type_than_declared_is_refused():
    stage = dataclasses.replace(whole(stages.CalibrationStage), sigma="high")
    with pytest.raises(TypeError, match=r"CalibrationStage\.sigma is str, expected ndarray"):
        to_tree(stage)


def test_a_type_that_files_do_not_hold_is_refused():
    @dataclass
    class Stage:
        level: complex

    with pytest.raises(TypeError, match=r"Stage\.level is declared as .*complex.*, expected text, a number, an array"):
        to_tree(Stage(1j))


def test_a_scan_with_all_results_comes_back(make_session, atm_table, tmp_path):
    scans = (SimulatedScan(), SimulatedScan(calibration_only=True, loads=Loads(t_hot=294.0)))
    session = make_session(channels=16, mode="otf_chopped", scans=scans)
    given = {
        "loads": {"forward_efficiency": 0.95, "physics": "kalibrate_compat"},
        "gain": {"level": 3},
        "atmosphere": {"override_atm": str(atm_table)},
        "calibrate": {"precision": "radiometric"},
    }
    scan = Session(session).open_scan(1)
    for name, step in CalibrationPipeline.step_defs.items():
        scan = step(skip=False, **given.get(name, {})).run(scan)
    band = scan.bands[0]
    assert None not in (getattr(band, field.name) for field in dataclasses.fields(band))
    path = scan.save(str(tmp_path / "scan.asdf"))
    assert_alike(band, Scan.open(path).bands[0])
    with asdf.open(path) as file:
        tree = file["cal_pipeline_scan"]["bands"][0]
        # Names of older files, which stay.
        assert isinstance(tree["reference"], Mapping)
        assert "moment" in tree["reference"]
