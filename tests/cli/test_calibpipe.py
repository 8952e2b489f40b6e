"""Tools calibpipe-…: files, options, names of the published package, exit statuses, messages without secrets."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.table import Table
from stpipe._cli.strun import main

from cal_pipeline.cherenkov.configuration import read_option
from cal_pipeline.cherenkov.errors import ConfigurationError
from cal_pipeline.cherenkov.simulate.night import simulate_night
from cal_pipeline.cli.calibpipe import TOOLS, run_tool

pytestmark = pytest.mark.cherenkov

PROFILE = "calibpipe-create-molecular-density-profile"
SELECT = "calibpipe-select-reference-atmospheric-model"
MODEL = "calibpipe-create-molecular-atmospheric-model"
PRODUCT = "contemporary_molecular_density_profile.ascii.ecsv"
SECRET = "hush-hush"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Folder of a simulated night with a filled database."""
    folder = tmp_path_factory.mktemp("night")
    start = Path.cwd()
    os.chdir(folder)
    try:
        # The paths in its configurations are relative to where it is made.
        night = simulate_night(Path())
        for command, path in night.commands[:5]:
            assert run_tool(command, ["-c", str(path)]) == 0
    finally:
        os.chdir(start)
    return folder


@pytest.fixture
def night(prepared, tmp_path, monkeypatch):
    folder = tmp_path / "night"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture
def run(capsys):
    """Run a tool and return its status and its messages."""

    def run_and_read(command, *words):
        capsys.readouterr()
        status = run_tool(command, [str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.err

    return run_and_read


@pytest.fixture
def strun(capsys, monkeypatch):
    """Run a step with strun and return its status and its messages."""

    def run_and_read(*words):
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["strun", *map(str, words)])
        with pytest.raises(SystemExit) as ended:
            sys.exit(main())
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return ended.value.code or 0, captured.out + captured.err

    return run_and_read


@pytest.mark.parametrize("command", TOOLS)
def test_help_names_the_section_and_the_version_is_shown(command, capsys):
    assert run_tool(command, ["--help"]) == 0
    assert "usage: " + command in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        run_tool(command, ["--version"])
    assert ended.value.code == 0


def test_unknown_tool_option_section_and_word_are_101(night, run):
    assert run("calibpipe-make-coffee")[0] == 101
    status, message = run(PROFILE, "-c", "density_profile.yaml", "--altitude_mx=3")
    assert status == 101
    assert "altitude_max" in message
    assert run(PROFILE, "-c", "density_profile.yaml", "--NoSection.key=3")[0] == 101
    assert run(PROFILE, "meteo_era5.ecsv")[0] == 101
    assert run(PROFILE, "-c")[0] == 101


def test_later_files_and_options_override_earlier_ones(night, run):
    Path("over.yaml").write_text("CreateMolecularDensityProfile: {altitude_max: 3000, output_path: over}\n")
    words = ["-c", "density_profile.yaml", "-c", "over.yaml"]
    options = ["--CreateMolecularDensityProfile.altitude_step=500", "--observatory.version=1"]
    assert run(PROFILE, *words, *options)[0] == 0
    made = Table.read(f"over/{PRODUCT}")
    assert made["altitude"].tolist() == [0, 500, 1000, 1500, 2000, 2500, 3000]
    origins = json.dumps(made.meta["provenance"])
    assert "over.yaml" in origins
    assert "command line" in origins


@pytest.mark.parametrize(
    "option", ["-i", "--data_path", "--ECMWFDataHandler.data_path", "--MeteoDataHandler.data_path"]
)
def test_options_override_keys_of_handler_sections_in_files(night, run, option):
    Path("meteo_era5.ecsv").rename("elsewhere.ecsv")
    assert run(PROFILE, "-c", "density_profile.yaml", option, "elsewhere.ecsv", "-o", "made")[0] == 0
    assert "elsewhere.ecsv" in str(Table.read(f"made/{PRODUCT}").meta["provenance"])


def test_database_of_an_option_overrides_that_of_a_file(night, run):
    Path("calibpipe.db").rename("other.db")
    assert run(PROFILE, "-c", "density_profile.yaml", "-o", "made", "--database=sqlite:///other.db")[0] == 0


def test_keys_of_the_published_package_are_named_in_a_warning(night, run):
    words = ["-c", "density_profile.yaml", "-o", "made", "--output_format=ascii.ecsv", "--GDASDataHandler.timeout=9"]
    frame = ["--log-file=a.log", "--provenance-log", "b.log", "--log_level=INFO"]
    Path("frame.yaml").write_text("CreateMolecularDensityProfile: {log_level: INFO, quiet: true}\n")
    status, message = run(PROFILE, *words, *frame, "-c", "frame.yaml")
    assert status == 0
    for name in ("output_format", "--log-file", "--provenance-log", "log_level", "quiet"):
        assert name in message
    assert not Path("a.log").exists()


def test_input_and_simtel_options_of_the_published_tools_are_known(night, run):
    assert run("calibpipe-calculate-throughput-muon", "--input", "none.h5")[0] == 105
    assert run("calibpipe-calculate-camcalib-coefficients", "--HDF5MonitoringSource.input_files=[none.h5]")[0] == 105
    words = [
        "-p",
        "a.simtel",
        "-f",
        "b.simtel",
        "-o",
        "camera",
        "--n_pixels=8",
        "--aggregation_modes=[sims_single_chunk]",
    ]
    status, message = run("calibpipe-produce-camcalib-test-data", *words)
    assert status == 0
    assert "pedestal_input_url" in message
    words = ["--input_url=none.h5", "--energy_column_suffix=tel_energy", "--chunk_size=5"]
    status, message = run("calibpipe-energy-asymmetry-estimation", *words)
    assert status == 105
    assert "energy_column_suffix" in message


def test_database_configuration_may_stand_in_the_section_of_the_tool(night, run):
    Path("calibpipe.db").rename("inner.db")
    text = Path("density_profile.yaml").read_text().partition("database_configuration")[0]
    Path("a.yaml").write_text(text)
    Path("b.yaml").write_text("CreateMolecularDensityProfile: {database_configuration: {url: 'sqlite:///inner.db'}}\n")
    assert run(PROFILE, "-c", "a.yaml", "-c", "b.yaml", "-o", "made")[0] == 0


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"InitDatabase: {database: a, database: b}\n", "there twice"),
        (b"InitDatabase: {}\nInitDatabase: {}\n", "there twice"),
        (BOMB.encode(), "values"),
        (b"InitDatabase: &a\n  inner: *a\n", "values"),
        (b"[" * 5000, "nested"),
        (b"InitDatabase: !!python/object/apply:os.system [touch harm]\n", "no YAML"),
        (b"InitDatabase: {a: 2023-13-45}\n", "none"),
        (b"InitDatabase: {a: " + b"9" * 5000 + b"}\n", "none"),
        (b"# \xe9\n", "cannot be read"),
        (b"a: \0", "no YAML"),
        (b"- a\n", "list"),
        (b"? [a, b]\n: 1\n", "no YAML"),
    ],
)
def test_files_that_are_no_configuration_are_101(tmp_path, monkeypatch, run, content, message):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_bytes(content)
    status, text = run("calibpipe-init-db", "-c", "config.yaml")
    assert status == 101
    assert message in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.yaml"]


def test_merge_keys_and_byte_order_marks_are_read(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    text = (
        "\ufeffdatabase_configuration: &db {url: 'sqlite:///a.db'}\nInitDatabase: {database_configuration: {<<: *db}}\n"
    )
    Path("config.yaml").write_text(text, encoding="utf-8")
    assert run("calibpipe-init-db", "-c", "config.yaml")[0] == 0
    assert Path("a.db").exists()


STATUSES = [
    (["--timestamp=2023-07-10T12:00:00"], 101),
    (["--timestamp=notime"], 101),
    (["--timestamp=9999-12-31"], 101),
    (["--observatory.name=nowhere"], 101),
    (["--gridstep=0"], 101),
    (["--update_frequency=99999999999999999999"], 101),
    (["--altitude_max=1e12"], 101),
    (["--altitude_max=.nan"], 101),
    (["--data_path=[a, b]"], 101),
    (["--database=sqlite:///none.db"], 102),
    (["--database=sqlite:///stars.ecsv"], 102),
    (["--output_path=stars.ecsv"], 102),
    (["--data_path=empty.ecsv"], 104),
    (["--data_path=noise.ecsv"], 104),
    (["--data_path=stars.ecsv"], 104),
    (["--data_path=none.ecsv"], 105),
    (["--data_path=empty"], 105),
    (["--timestamp=2023-07-12"], 105),
]


@pytest.mark.parametrize(("words", "status"), STATUSES)
def test_status_tells_the_kind_of_failure_and_products_stay(night, run, words, status):
    Path("empty.ecsv").touch()
    Path("empty").mkdir()
    Path("noise.ecsv").write_bytes(bytes(range(256)))
    Path("made").mkdir()
    Path(f"made/{PRODUCT}").write_text("mine")
    database = Path("calibpipe.db").read_bytes()
    given = ["-c", "density_profile.yaml", "--output_path=made", "--overwrite", *words]
    found, message = run(PROFILE, *given)
    assert found == status
    assert message.count("\n") < 8
    assert Path(f"made/{PRODUCT}").read_text() == "mine"
    assert Path("calibpipe.db").read_bytes() == database


def test_existing_product_is_102_and_untouched(night, run):
    Path("products").mkdir(exist_ok=True)
    Path(f"products/{PRODUCT}").write_text("mine")
    assert run(PROFILE, "-c", "density_profile.yaml")[0] == 102
    assert Path(f"products/{PRODUCT}").read_text() == "mine"
    assert run(PROFILE, "-c", "density_profile.yaml", "--overwrite")[0] == 0
    assert "mine" not in Path(f"products/{PRODUCT}").read_text()


def test_data_and_products_may_share_a_folder(night, run):
    Path("shared").mkdir()
    shutil.copy("meteo_era5.ecsv", "shared")
    words = ["-c", "density_profile.yaml", "-c", "select_model.yaml", "-c", "atmospheric_model.yaml"]
    shared = ["--data_path=shared", "--output_path=shared", "--overwrite", "--macobac12_table_path=models/macobac.ecsv"]
    for _ in range(2):
        assert run(PROFILE, *words, *shared[:3])[0] == 0
        assert run(SELECT, *words, *shared[:3])[0] == 0
        assert run(MODEL, *words, *shared)[0] == 0
    assert Path("shared/meteo_era5.ecsv").read_bytes() == Path("meteo_era5.ecsv").read_bytes()


@pytest.mark.parametrize("words", [["--wavelength_step=0.25"], ["--wavelength_min=200.05"], ["--wavelength_max=100"]])
def test_wavelengths_without_a_name_of_their_own_are_101(night, run, words):
    assert run(MODEL, "-c", "atmospheric_model.yaml", "--macobac12_table_path=models/macobac.ecsv", *words)[0] == 101


def test_picture_that_exists_is_102(night, run):
    Path("products").mkdir(exist_ok=True)
    words = ["-c", "atmospheric_model.yaml", "--macobac12_table_path=models/macobac.ecsv", "--plot"]
    assert run(MODEL, *words)[0] == 0
    picture = next(Path("products").glob("*.png"))
    picture.write_text("mine")
    for path in Path("products").glob("*.ecsv"):
        path.unlink()
    assert run(MODEL, *words)[0] == 102
    assert picture.read_text() == "mine"


SECRET_URLS = [
    f"postgresql+psycopg://me:{SECRET}@127.0.0.1:1/cta",
    f"postgresql+psycopg://me:{SECRET}@x/y:{SECRET}@127.0.0.1:1/cta",
    f"postgresql+psycopg://me@127.0.0.1:1/cta?password={SECRET}",
    f"mysql://me:{SECRET}@h/cta",
    f"foo://me:{SECRET}@h/cta",
    f"me:{SECRET}@h/cta",
]


@pytest.mark.parametrize("url", SECRET_URLS)
@pytest.mark.parametrize("key", ["database", "database_configuration.url"])
def test_no_message_shows_a_password(night, run, url, key):
    status, message = run(PROFILE, "-c", "density_profile.yaml", "-o", "made", f"--{key}={url}", "--log-level=DEBUG")
    assert status in (101, 102)
    assert SECRET not in message


def test_no_message_shows_a_password_that_is_no_yaml(tmp_path, monkeypatch, run):
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(f'database_configuration:\n  password: "{SECRET}\n  user: me\n')
    status, message = run("calibpipe-init-db", "-c", "config.yaml")
    assert status == 101
    assert SECRET not in message
    status, message = run("calibpipe-init-db", f"--database_configuration.password=[{SECRET}")
    assert status == 101
    assert SECRET not in message
    with pytest.raises(ConfigurationError, match="no YAML: "):
        read_option("[1")


def test_saved_parameters_and_log_of_strun_hide_the_password(night, strun):
    _, message = strun(
        "cal_pipeline.steps.cherenkov.DensityProfileStep",
        "meteo_era5.ecsv",
        "--timestamp=2023-07-10",
        "--observatory_name=EXAMPLE-RIDGE",
        f"--database=postgresql+psycopg://me:{SECRET}@127.0.0.1:1/cta",
        "--save-parameters=saved.asdf",
        "--log-level=DEBUG",
    )
    assert SECRET not in message
    assert not Path("saved.asdf").exists() or SECRET.encode() not in Path("saved.asdf").read_bytes()


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (["meteo_era5.ecsv", "--timestamp=2023-07-10"], 0),
        (["meteo_era5.ecsv", "--timestamp=2023-07-10T12:00"], 101),
        (["meteo_era5.ecsv", "--timestamp=2023-07-10", "--altitude_mx=1"], 101),
        (["meteo_era5.ecsv", "--timestamp=2023-07-10", "--altitude_step=0"], 101),
        (["meteo_era5.ecsv", "--timestamp=2023-07-10", "--database=sqlite:///no.db"], 102),
        (["stars.ecsv", "--timestamp=2023-07-10"], 104),
        (["none.ecsv", "--timestamp=2023-07-10"], 105),
        (["--timestamp=2023-07-10"], 105),
    ],
)
def test_strun_ends_with_the_statuses_of_the_tools(night, strun, words, status):
    found, message = strun(
        "cal_pipeline.steps.cherenkov.DensityProfileStep", *words, "--observatory_name=EXAMPLE-RIDGE"
    )
    assert found == status, message


def test_fallback_is_100_from_tool_and_strun(night, run, strun):
    words = ["-c", "select_model.yaml", "--data_path=none.ecsv", "-o", "made"]
    assert run(SELECT, *words)[0] == 100
    assert Table.read("made/selected_atmospheric_profile.ascii.ecsv").meta["selection"]["by"] == "season"
    step = ["cal_pipeline.steps.cherenkov.SelectModelStep", "none.ecsv", "--timestamp=2023-07-10"]
    status, message = strun(*step, "--observatory_name=EXAMPLE-RIDGE", "--output_path=other")
    assert status == 100, message


def test_interrupt_is_130(night):
    code = (
        "import sys, time; import cal_pipeline.cherenkov.meteo as m; from cal_pipeline.cli.calibpipe import run_tool\n"
    )
    code += "m.MeteoTable.read = classmethod(lambda *a: (print('here', flush=True), time.sleep(60)))\n"
    # A shell lets what it runs in the background ignore SIGINT, and Python inherits that.
    code += "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "sys.exit(run_tool(sys.argv[1], sys.argv[2:]))"
    words = [sys.executable, "-c", code, PROFILE, "-c", "density_profile.yaml"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in message
    assert not list(Path("products").glob("*")) if Path("products").exists() else True
