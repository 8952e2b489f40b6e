"""Configuration files of the tools: merging, sections, keys, errors."""

from __future__ import annotations

import datetime

import pytest

from cal_pipeline.cherenkov.configuration import OPTIONS, Configuration, read_option, read_yaml, resolve
from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.tools import SELF, Tool

pytestmark = pytest.mark.cherenkov

HANDLERS = {"GDASDataHandler": {}, "ECMWFDataHandler": {}}
PROFILE = Tool(
    "calibpipe-profile",
    "MakeProfile",
    source="data_path",
    handlers=HANDLERS,
    choice="meteo_data_handler",
    unused=frozenset({"timeout", "dataset"}),
)
CAMERA = Tool(
    "calibpipe-camera",
    "Camera",
    source="input_url",
    handlers={"Outliers": {"coeff": "noise_coeff"}},
    present={"Outliers": "detect_outliers"},
)
UPLOAD = Tool("calibpipe-upload", "Upload", source=SELF)
TOOLS = [PROFILE, CAMERA, UPLOAD]
PARAMETERS = {
    "timestamp": None,
    "observatory_name": None,
    "observatory_version": 1,
    "meteo_data_handler": "ECMWFDataHandler",
    "gridstep": None,
    "output_path": "./",
    "limits": ["LST:1"],
}
OF_CAMERA = {"n_events": 2500, "noise_coeff": 1.0, "detect_outliers": False}


def resolve_values(values, tool=PROFILE, parameters=PARAMETERS):
    config = Configuration()
    config.add(values, "file a.yaml")
    return resolve(config, tool, parameters, lambda: TOOLS)


def test_later_files_and_options_override_key_by_key():
    config = Configuration()
    config.add({"MakeProfile": {"timestamp": "2023-07-10", "observatory": {"name": "A", "version": 1}}}, "file a.yaml")
    config.add({"MakeProfile": {"observatory": {"version": 2}, "limits": ["MST:2"]}}, "file b.yaml")
    config.add({"MakeProfile": {"timestamp": "2024-01-01"}}, OPTIONS)
    found = resolve(config, PROFILE, PARAMETERS, lambda: TOOLS)
    assert found.parameters == {
        "timestamp": "2024-01-01",
        "observatory_name": "A",
        "observatory_version": 2,
        "limits": ["MST:2"],
    }
    assert found.origins == {
        "timestamp": OPTIONS,
        "observatory_name": "file a.yaml",
        "observatory_version": "file b.yaml",
        "limits": "file b.yaml",
    }


@pytest.mark.parametrize("inside", [True, False])
def test_the_chosen_handler_is_read_at_the_top_or_inside(inside):
    handlers = {
        "GDASDataHandler": {"gridstep": 1.0, "data_path": "gdas", "timeout": 3},
        "ECMWFDataHandler": {"gridstep": 0.25, "data_path": "era5"},
    }
    own = {"meteo_data_handler": "GDASDataHandler"}
    values = {"MakeProfile": {**own, **handlers}} if inside else {"MakeProfile": own, **handlers}
    found = resolve_values(values)
    assert found.source == "gdas"
    assert found.parameters["gridstep"] == 1.0
    assert found.ignored == ["MakeProfile.GDASDataHandler.timeout" if inside else "GDASDataHandler.timeout"]


def test_the_default_handler_is_read_where_none_is_named():
    assert resolve_values({"ECMWFDataHandler": {"data_path": "era5"}}).source == "era5"
    assert resolve_values({"GDASDataHandler": {"data_path": "gdas"}}).source is None


def test_a_section_inside_the_tool_wins_over_one_at_the_top():
    found = resolve_values(
        {"ECMWFDataHandler": {"gridstep": 1.0}, "MakeProfile": {"ECMWFDataHandler": {"gridstep": 0.5}}}
    )
    assert found.parameters["gridstep"] == 0.5


@pytest.mark.parametrize("section", [None, {}, {"coeff": 2.0}])
def test_the_presence_of_a_section_counts(section):
    found = resolve_values({"Outliers": section}, CAMERA, OF_CAMERA)
    assert found.parameters["detect_outliers"] is True
    assert found.parameters.get("noise_coeff") == (section or {}).get("coeff")
    assert "detect_outliers" not in resolve_values({"Camera": {"n_events": 3}}, CAMERA, OF_CAMERA).parameters


def test_sections_of_other_tools_are_allowed():
    assert resolve_values({"Camera": {"anything": 1}, "Outliers": {"coeff": 1}}).parameters == {}


@pytest.mark.parametrize("tool", [PROFILE, UPLOAD])
def test_sections_without_a_tool_here_are_ignored_and_told(tool):
    values = {"StarTrackerTool": {"a": 1}, "ReferenceMetadataContainer": {"version": "0.1"}}
    assert resolve_values(values, tool).ignored == ["StarTrackerTool", "ReferenceMetadataContainer"]


def test_a_section_may_be_the_input():
    found = resolve_values({"Upload": {"observatories": [1], "overwrite": True}}, UPLOAD, {"overwrite": False})
    assert found.source == {"observatories": [1]}
    assert found.parameters == {"overwrite": True}


def test_mappings_stay_whole_where_they_are_parameters():
    assert resolve_values({"MakeProfile": {"limits": {"LST": 2.0}}}).parameters == {"limits": {"LST": 2.0}}


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"MakeProfil": {}}, "unknown section 'MakeProfil'; did you mean MakeProfile"),
        ({"MakeProfile": {"timestmp": 1}}, "MakeProfile: unknown key 'timestmp'; did you mean timestamp"),
        ({"MakeProfile": {"observatory": {"nam": 1}}}, "'observatory_nam'; did you mean observatory_name"),
        ({"ECMWFDataHandler": {"gridstp": 1}}, "ECMWFDataHandler: unknown key 'gridstp'; did you mean gridstep"),
        ({"GDASDataHandler": {"gridstp": 1}}, "GDASDataHandler: unknown key 'gridstp'"),
        ({"MakeProfile": [1]}, "section MakeProfile holds a list; expected keys"),
        ({"ECMWFDataHandler": 3}, "section ECMWFDataHandler holds a int"),
    ],
)
def test_wrong_names_are_refused_with_the_nearest(values, words):
    with pytest.raises(ConfigurationError) as caught:
        resolve_values(values)
    assert words in str(caught.value)
    assert caught.value.exit_status == 101
    assert "a.yaml" in str(caught.value) or "section" in str(caught.value)


def test_yaml_files_are_read_with_their_times(tmp_path):
    path = tmp_path / "a.yaml"
    path.write_text("MakeProfile:\n  timestamp: 2023-07-10T01:00:00\n")
    assert read_yaml(path) == {"MakeProfile": {"timestamp": datetime.datetime(2023, 7, 10, 1)}}
    path.write_text("")
    assert read_yaml(path) == {}


@pytest.mark.parametrize("text", ["- 1", "a: [", "a: !!python/object/apply:os.system [true]", "\x00"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=r"a\.yaml"):
        read_yaml(path)


def test_missing_files_and_odd_options_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"none\.yaml cannot be read: No such file"):
        read_yaml(tmp_path / "none.yaml")
    with pytest.raises(ConfigurationError, match="no YAML"):
        read_option("[1")
    assert read_option("1.5") == 1.5


@pytest.mark.parametrize(
    ("later", "expected"),
    [
        ({"MakeProfile": {"data_path": "late"}}, ("late", 0.25)),
        ({"MakeProfile": {"data_path": None}}, ("early", 0.25)),
        ({"ECMWFDataHandler": {"data_path": "late"}}, ("late", 0.25)),
        ({"MakeProfile": {"ECMWFDataHandler": {"data_path": "late"}}}, ("late", 0.25)),
        ({"MakeProfile": {"gridstep": 0.5}}, ("early", 0.5)),
    ],
)
def test_the_later_of_two_keys_that_mean_one_thing_counts(later, expected):
    """A key of the tool's section and one of a handler's, at the top or inside."""
    config = Configuration()
    config.add({"ECMWFDataHandler": {"data_path": "early", "gridstep": 0.25}}, "file a.yaml")
    config.add(later, OPTIONS)
    found = resolve(config, PROFILE, PARAMETERS, lambda: TOOLS)
    assert (found.source, found.parameters["gridstep"]) == expected
    assert found.origins["gridstep"] == (OPTIONS if expected[1] == 0.5 else "file a.yaml")


@pytest.mark.parametrize("late_is_section", [True, False])
def test_the_later_of_database_and_its_section_counts(late_is_section):
    section, key = (
        {"database_configuration": {"url": "sqlite:///a.db"}},
        {"MakeProfile": {"database": "sqlite:///b.db"}},
    )
    config = Configuration()
    for number, values in enumerate((key, section) if late_is_section else (section, key)):
        config.add(values, f"file {number}.yaml")
    found = resolve(config, PROFILE, PARAMETERS | {"database": "sqlite:///c.db"}, lambda: TOOLS)
    assert found.parameters["database"] == f"sqlite:///{'a' if late_is_section else 'b'}.db"
