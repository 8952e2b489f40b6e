"""Commands `calibpipe-…` and the same steps under `strun`: statuses, messages, options, products, secrets."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import astropy.time.core
import pytest
import stpipe._cli.strun
import yaml
from astropy.table import Table
from astropy.time import Time
from astropy.utils import iers

from cal_pipeline.cherenkov.database.store import open_database
from cal_pipeline.cherenkov.simulate.night import simulate_night
from cal_pipeline.cli.calibpipe import TOOLS, run_tool
from cal_pipeline.steps.cherenkov import DensityProfileStep, SelectModelStep

pytestmark = pytest.mark.cherenkov

DENSITY, SELECT, MODEL, MACOBAC = (
    "calibpipe-create-molecular-density-profile",
    "calibpipe-select-reference-atmospheric-model",
    "calibpipe-create-molecular-atmospheric-model",
    "calibpipe-calculate-macobac",
)
FILES = {
    DENSITY: "night/density_profile.yaml",
    SELECT: "night/select_model.yaml",
    MODEL: "night/atmospheric_model.yaml",
    MACOBAC: "night/macobac.yaml",
}
NIGHT = {
    "timestamp": "2023-07-10T00:00:00",
    "observatory_name": "EXAMPLE-RIDGE",
    "database": "sqlite:///night/calibpipe.db",
}
SETTINGS = {
    DENSITY: NIGHT,
    SELECT: NIGHT,
    MODEL: NIGHT | {"macobac12_table_path": "night/products/macobac.ecsv"},
    MACOBAC: {"timestamp": "2023-07-10"},
}
FEW = {MODEL: {"wavelength_step": "100"}}
"""Wavelengths that are quickly made."""

INPUTS = dict.fromkeys((DENSITY, SELECT, MODEL), "night/meteo_era5.ecsv") | {MACOBAC: "night/monthly_in_situ_co2.csv"}
PROFILE = "contemporary_molecular_density_profile.ascii.ecsv"
SELECTED = ("selected_atmospheric_profile.ascii.ecsv", "selected_rayleigh_extinction_profile.ascii.ecsv")
SECRET = "hunter2"
URL = f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/cta"


@dataclass
class Case:
    """Run of a tool that ends with a status and, unless that is 0 or 100, a message."""

    status: int
    command: str
    changes: dict[str, str]
    words: str = ""
    source: str = ""


CASES = {
    "products": Case(0, DENSITY, {}),
    "carbon dioxide": Case(0, MACOBAC, {}),
    "both models": Case(0, MODEL, {}),
    "a fallback": Case(100, SELECT, {"timestamp": "2023-10-20"}),
    "no data file": Case(100, SELECT, {}, source="night/none.ecsv"),
    "day": Case(101, DENSITY, {"timestamp": "2023-07-10T12:00:00"}, "by day"),
    "no time": Case(101, MACOBAC, {"timestamp": "once"}, "no time"),
    "no such place": Case(101, SELECT, {"observatory_name": "NOWHERE"}, "NOWHERE"),
    "no such handler": Case(101, SELECT, {"meteo_data_handler": "Guess"}, "meteo_data_handler"),
    "no such key": Case(101, DENSITY, {"altitude_maximum": "3"}, "altitude_max"),
    "times out of days": Case(101, DENSITY, {"update_frequency": "100000000000000000000"}, "update_frequency"),
    "columns without names": Case(101, MODEL, {"wavelength_min": "200.05"}, "multiple of 0.1 nm"),
    "steps without names": Case(101, MODEL, {"wavelength_step": "0.25"}, "multiple of 0.1 nm"),
    "a mountain too high": Case(101, MODEL, {"observation_level": "500"}, "observation_level"),
    "no database": Case(102, SELECT, {"database": "sqlite:///none.db"}, "calibpipe-init-db"),
    "a file for a folder": Case(102, DENSITY, {"output_path": "night/truth.ecsv"}, "truth.ecsv"),
    "another table": Case(104, DENSITY, {}, "lacks Latitude", source="night/lidar.ecsv"),
    "no table": Case(104, SELECT, {}, "cannot be read as ECSV", source="night/macobac.yaml"),
    "no record": Case(104, MACOBAC, {}, "lidar.ecsv", source="night/lidar.ecsv"),
    "two concentrations": Case(104, MODEL, {"macobac12_table_path": "night/truth.ecsv"}, "expected 1"),
    "colours beyond air": Case(104, MODEL, {"wavelength_max": "1e12"}, "1e+12 nm"),
    "another night": Case(105, DENSITY, {"timestamp": "2023-10-20"}, "has no data at"),
    "another night's model": Case(105, MODEL, {"timestamp": "2023-10-20"}, "has no data at"),
    "data that are elsewhere": Case(105, DENSITY, {}, "not there", source="night/none.ecsv"),
    "no concentration": Case(105, MODEL, {"macobac12_table_path": "none.ecsv"}, "not there"),
    "no record there": Case(105, MACOBAC, {}, "not there", source="none.csv"),
    "too early": Case(106, MACOBAC, {"timestamp": "2015-06-01"}, "12"),
}


@pytest.fixture(autouse=True)
def _quiet_at_the_end():
    """Leave the loggers as they were: commands set their levels."""
    yield
    logging.getLogger("cal_pipeline").setLevel(logging.NOTSET)


def run_case(case: Case, capsys) -> tuple[int, str]:
    options = {"output_path": "out", **FEW.get(case.command, {}), **case.changes}
    words = ["-c", FILES[case.command], *(f"--{key}={value}" for key, value in options.items())]
    status = run_tool(case.command, [*words, *(["-i", case.source] if case.source else [])])
    return status, capsys.readouterr().err


def run_under_strun(case: Case, capsys, monkeypatch) -> tuple[int, str]:
    options = {"output_path": "out", **FEW.get(case.command, {}), **SETTINGS[case.command], **case.changes}
    source = case.source or INPUTS[case.command]
    name = f"cal_pipeline.steps.cherenkov.{TOOLS[case.command]}"
    monkeypatch.setattr("sys.argv", ["strun", name, source, *(f"--{key}={value}" for key, value in options.items())])
    with pytest.raises(SystemExit) as caught:
        stpipe._cli.strun.main()
    return int(caught.value.code or 0), capsys.readouterr().err


@pytest.mark.parametrize("by", ["command", "strun"])
@pytest.mark.parametrize("name", CASES)
def test_statuses(made_up_night, name, by, capsys, monkeypatch):
    case = CASES[name]
    if by == "command":
        status, messages = run_case(case, capsys)
    else:
        status, messages = run_under_strun(case, capsys, monkeypatch)
    assert (status, "Traceback" in messages) == (case.status, False), messages
    if status in (0, 100):
        assert any(Path("out").glob("*.ecsv"))
    else:
        assert messages.splitlines()[-1].startswith(case.command if by == "command" else "strun")
        assert case.words in messages
        assert not any(Path("out").glob("*.ecsv"))


@pytest.mark.parametrize("command", [DENSITY, SELECT, MODEL, MACOBAC])
def test_existing_products_stay(made_up_night, command, capsys):
    """The last of the products is there: none is made, and it stays."""
    name = {DENSITY: PROFILE, SELECT: SELECTED[1], MACOBAC: "macobac.ecsv"}.get(
        command, "contemporary_rayleigh_extinction_profile.ascii.ecsv"
    )
    Path("out").mkdir()
    Path("out", name).write_text("mine")
    status, messages = run_case(Case(102, command, {}), capsys)
    assert (status, os.listdir("out"), Path("out", name).read_text()) == (102, [name], "mine")
    assert "give --overwrite" in messages
    assert run_case(Case(0, command, {"overwrite": "true"}), capsys)[0] == 0
    assert Path("out", name).read_text() != "mine"


def test_files_are_laid_over_each_other(made_up_night):
    Path("a.yaml").write_text(yaml.safe_dump({"CreateMolecularDensityProfile": {"altitude_max": 16000, "gridstep": 9}}))
    Path("b.yaml").write_text(yaml.safe_dump({"ECMWFDataHandler": {"gridstep": 0.25}}))
    options = ["-c", FILES[DENSITY], "-c", "a.yaml", "--config", "b.yaml", "--output_path", "out"]
    assert run_tool(DENSITY, [*options, "--CreateMolecularDensityProfile.altitude_step=4000"]) == 0
    product = Table.read(f"out/{PROFILE}")
    assert product["altitude"].tolist() == [0.0, 4000.0, 8000.0, 12000.0, 16000.0]
    origins = product.meta["provenance"]["parameter_origins"]
    assert (origins["altitude_max"], origins["gridstep"], origins["altitude_step"]) == (
        "file a.yaml",
        "file b.yaml",
        "command line",
    )
    assert origins["observatory_name"] == f"file {FILES[DENSITY]}"


def test_a_nested_key_is_an_option(made_up_night, capsys):
    assert run_tool(DENSITY, ["-c", FILES[DENSITY], "--observatory.name=nowhere"]) == 101
    assert "NOWHERE version 1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-c"], "expected one argument"),
        (["-c", "none.yaml"], "none.yaml cannot be read"),
        (["-d", "x"], "no option -d"),
        (["-x"], "unexpected argument -x"),
        (["word"], "unexpected argument word"),
        (["--"], "unexpected argument --"),
        (["--log-level=LOUD"], "LOUD"),
        (["--Section.key=1"], "unknown section 'Section'"),
        (["--CreateMolecularDensityProfil.gridstep=1"], "did you mean CreateMolecularDensityProfile?"),
        (["--timestamp=["], "no YAML"),
    ],
)
def test_wrong_options(made_up_night, options, words, capsys):
    assert run_tool(DENSITY, options) == 101
    messages = capsys.readouterr().err
    assert words in messages
    assert messages.startswith(f"{DENSITY}: ")
    assert len(messages.splitlines()) <= 5


def test_an_unknown_command_is_named_with_the_known_ones(capsys):
    assert run_tool("calibpipe-guess") == 101
    assert DENSITY in capsys.readouterr().err


def test_tracebacks_are_shown_on_request_only(made_up_night, capsys):
    assert run_tool(DENSITY, ["-c", "none.yaml", "--debug"]) == 101
    assert "Traceback" in capsys.readouterr().err


PUBLISHED = """
Section:
  timestamp: '2023-07-10 00:00:00'
  observatory:
    name: Example-Ridge
    version: 1
  meteo_data_handler: GDASDataHandler
  GDASDataHandler:
    dataset: ds083.2
    gridstep: 1.0
    update_frequency: 6
    update_tzinfo: UTC
    timeout: 1200
    request_timeout: 10
    data_path: night/gdas/
"""
"""Keys of a file for the published package."""


@pytest.mark.parametrize(
    ("command", "section"),
    [
        (DENSITY, "CreateMolecularDensityProfile"),
        (SELECT, "SelectMolecularAtmosphericModel"),
        (MODEL, "CreateMolecularAtmosphericModel"),
    ],
)
def test_files_of_the_published_package_run(made_up_night, command, section, caplog):
    """Without any option: products come to the current folder, the database and macobac.ecsv are there."""
    (made_up_night / "gdas").mkdir()
    shutil.copy(made_up_night / "meteo_gdas.ecsv", made_up_night / "gdas" / "any.ecsv")
    shutil.copy(made_up_night / "calibpipe.db", "calibpipe.db")
    shutil.copy(made_up_night / "products" / "macobac.ecsv", "macobac.ecsv")
    Path("published.yaml").write_text(PUBLISHED.replace("Section", section))
    assert run_tool(command, ["-c", "published.yaml"]) == 0
    for key in ("dataset", "update_tzinfo", "timeout", "request_timeout"):
        assert f"{section}.GDASDataHandler.{key}" in caplog.text
    assert list(Path().glob("*.ascii.ecsv"))


def test_nothing_is_deleted_or_changed_in_the_folder_of_data(made_up_night):
    Path("data").mkdir()
    shutil.copy(made_up_night / "meteo_era5.ecsv", "data")
    for name in ("notes.txt", "old.grib.idx", "x.json"):
        Path("data", name).write_text(name)
    before = {path.name: path.read_bytes() for path in Path("data").iterdir()}
    for command in (DENSITY, SELECT, MODEL):
        words = [f"--{key}={value}" for key, value in FEW.get(command, {}).items()]
        assert run_tool(command, ["-c", FILES[command], "-i", "data/", "-o", "out", *words]) == 0
    # Missing data are no reason either.
    assert run_tool(SELECT, ["-c", FILES[SELECT], "-i", "data", "-o", "later", "--timestamp=2023-10-20"]) == 100
    assert {path.name: path.read_bytes() for path in Path("data").iterdir()} == before


@pytest.mark.parametrize(
    "section",
    [
        {"url": URL},
        {"user": "me", "password": SECRET, "host": "127.0.0.1", "port": 1, "database": "cta"},
        {"url": URL.replace("postgresql+psycopg", "guess")},
        {"url": URL.replace("//", "/")},
        {"url": f"{URL}?passwrd={SECRET}"},
        {"url": URL, "passwort": SECRET},
    ],
)
def test_messages_hold_no_password(made_up_night, section, capsys, caplog):
    """The server is not there, or the URL is no good."""
    Path("db.yaml").write_text(yaml.safe_dump({"database_configuration": {"url": None} | section}))
    caplog.set_level(logging.DEBUG)
    assert run_tool(SELECT, ["-c", FILES[SELECT], "-c", "db.yaml", "-o", "out", "--debug"]) in (101, 102)
    printed = capsys.readouterr()
    assert SELECT in printed.err
    text = printed.err.split(f"{SELECT}: ")[-1] + printed.out + caplog.text
    assert SECRET not in text


def test_products_and_logs_hold_no_password(made_up_night, monkeypatch, capsys, caplog):
    """The password of a server, in place of which a file serves here."""
    monkeypatch.setattr(
        "cal_pipeline.steps.cherenkov.database.open_database", lambda *_: open_database("sqlite:///night/calibpipe.db")
    )
    caplog.set_level(logging.DEBUG)
    options = ["-c", FILES[SELECT], "-o", "out", "--log-level=DEBUG", f"--database={URL}"]
    assert run_tool(SELECT, options) == 0
    printed = capsys.readouterr()
    products = "".join(path.read_text() for path in Path("out").iterdir())
    assert "me:***@127.0.0.1" in products
    assert SECRET not in products + printed.err + printed.out + caplog.text
    assert SECRET.encode() not in Path("night/calibpipe.db").read_bytes()


def test_an_interrupted_run_leaves_whole_products_and_no_row(made_up_night, monkeypatch, capsys):
    written = SelectModelStep.write_table

    def interrupt(self, table, name, inputs):
        if name == SELECTED[1]:
            raise KeyboardInterrupt
        return written(self, table, name, inputs)

    monkeypatch.setattr(SelectModelStep, "write_table", interrupt)
    status, messages = run_case(Case(130, SELECT, {}), capsys)
    assert (status, "interrupted" in messages, os.listdir("out")) == (130, True, [SELECTED[0]])
    assert len(Table.read(f"out/{SELECTED[0]}")) > 40
    assert len(open_database("sqlite:///night/calibpipe.db").selections()) == 0


KILLED = """
import os, signal, sys
from cal_pipeline.cli.calibpipe import run_tool

calls = []

def kill_at_the_second(file):
    calls.append(file)
    if len(calls) == 2:
        os.truncate(file if isinstance(file, int) else file.fileno(), 1000)
        os.kill(os.getpid(), signal.SIGKILL)

os.fsync = kill_at_the_second
run_tool(sys.argv[1], sys.argv[2:])
"""


def test_a_killed_run_leaves_no_half_product(made_up_night, capsys):
    """The unfinished file has another name, and the next run does not read it as data."""
    Path("out").mkdir()
    shutil.copy(made_up_night / "meteo_era5.ecsv", "out")
    words = ["-c", FILES[SELECT], "-o", "out", "-i", "out"]
    ended = subprocess.run([sys.executable, "-c", KILLED, SELECT, *words], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGKILL
    assert sorted(path.name for path in Path("out").glob("*.ecsv") if not path.name.startswith(".")) == [
        "meteo_era5.ecsv",
        SELECTED[0],
    ]
    assert len(Table.read(f"out/{SELECTED[0]}")) > 40
    assert run_tool(SELECT, [*words, "--overwrite"]) == 0


@pytest.fixture
def attempts(monkeypatch):
    """Attempts to open a socket, all of which fail; the table of leap seconds seems to have expired long ago."""
    made: list[str] = []

    def refuse(*arguments, **_):
        made.append(str(arguments))
        raise OSError("no socket may be opened")

    for name in ("socket", "create_connection", "getaddrinfo"):
        monkeypatch.setattr(socket, name, refuse)
    monkeypatch.setattr(iers.LeapSeconds, "_today", staticmethod(lambda: Time("2090-01-01", scale="tai")))
    # No cache of downloads may be cleared.
    for name in ("iers_leap_second_auto_url", "ietf_leap_second_auto_url"):
        monkeypatch.setattr(iers.conf, name, "http://127.0.0.1:1/leap")
    core = astropy.time.core
    monkeypatch.setattr(core, "_LEAP_SECONDS_CHECK", core._LeapSecondsCheck.NOT_STARTED)
    return made


@pytest.mark.filterwarnings("ignore")
def test_astropy_would_ask_for_leap_seconds(attempts):
    Time("2023-07-10", scale="utc").tai  # noqa: B018
    assert attempts


@pytest.mark.parametrize("command", [DENSITY, SELECT, MODEL, MACOBAC])
def test_no_tool_opens_a_socket(made_up_night, command, attempts):
    assert run_tool(command, ["-c", FILES[command], "-o", "out"]) == 0
    assert attempts == []


def test_a_night_is_made_up_without_a_socket(tmp_path, attempts):
    simulate_night(tmp_path / "night", seed=3)
    assert attempts == []


def test_a_time_in_python_opens_no_socket(attempts):
    DensityProfileStep(timestamp="2023-07-10", observatory_name="X")
    assert attempts == []


@pytest.mark.parametrize(
    ("name", "command", "section"),
    [
        ("gdas", DENSITY, "CreateMolecularDensityProfile"),
        ("era5", SELECT, "SelectMolecularAtmosphericModel"),
    ],
)
def test_real_tables_in_a_folder_of_a_published_file(shared, tmp_path, monkeypatch, name, command, section):
    """The folder holds the table of one handler, as downloads of the published package do."""
    monkeypatch.chdir(tmp_path)
    Path("data").mkdir()
    shutil.copy(shared / f"meteo_{name}_2023-07-10_north.ecsv", "data")
    assert run_tool("calibpipe-init-db", []) == 0
    assert run_tool("calibpipe-upload-observatory-data", ["-c", str(shared / "observatories.yaml")]) == 0
    text = PUBLISHED.replace("Section", section).replace("night/gdas/", "data/").replace("Example-Ridge", "CTAO-North")
    if name == "era5":
        text = (
            text.replace("GDAS", "ECMWF")
            .replace("gridstep: 1.0", "gridstep: 0.25")
            .replace("frequency: 6", "frequency: 1")
        )
    Path("published.yaml").write_text(text)
    # No model has been uploaded.
    assert run_tool(command, ["-c", "published.yaml"]) == (105 if command == SELECT else 0)
    if command == DENSITY:
        density = Table.read(PROFILE).meta["number_density_15km"]
        assert density == pytest.approx(4.644145761612368e18, rel=1e-12)
