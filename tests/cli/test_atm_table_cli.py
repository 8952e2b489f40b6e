import numpy as np
import pytest
from helpers_atm import write_test_atm_table

from cal_pipeline.cli import atm_table as atm_table_cli
from cal_pipeline.cli.atm_table import main
from cal_pipeline.heterodyne.references.atm_table import AtmTable
from cal_pipeline.heterodyne.references.build_atm import AtmModelError


@pytest.fixture
def table(tmp_path):
    frequency = np.concatenate([np.arange(100.0, 111.0), np.arange(150.0, 161.0)]) * 1e9
    b = np.broadcast_to(np.linspace(0.1, 1.0, 22), (2, 22))
    path = tmp_path / "hill.asdf"
    AtmTable(frequency, np.array([500e2, 600e2]), b, 0.1 * b, {"site": "a hill"}).write(path)
    return path


def test_info_lists_pressures_and_windows(table, capsys):
    assert main(["info", str(table)]) == 0
    text = capsys.readouterr().out
    for part in ("a hill", "500, 600 hPa", "100.0000   110.0000", "150.0000   160.0000"):
        assert part in text


def test_info_of_version_1(table, capsys):
    assert main(["info", str(table)]) == 0
    assert "format version 1: one layer at the temperature of the ground" in capsys.readouterr().out


def test_info_shows_layers_and_their_offsets(tmp_path, capsys):
    path = write_test_atm_table(tmp_path / "layers.asdf", pressures=(50000.0, 55000.0), layered=True)
    assert main(["info", str(path)]) == 0
    text = capsys.readouterr().out
    assert "format version 2; tops of the 3 layers above the telescope" in text
    lines = [line.split() for line in text.splitlines()]
    start = lines.index(["top", "[km]", "500", "hPa", "550", "hPa"])
    assert lines[start + 1 : start + 4] == [
        ["1", "-3.00", "-2.90"],
        ["3", "-12.00", "-12.19"],
        ["42", "-45.00", "-44.62"],
    ]


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--pwv", "0.5", "1"], ["--pressure", "550"]])
def test_plot_writes_a_picture(table, tmp_path, options):
    picture = tmp_path / "out.png"
    assert main(["plot", str(table), "-o", str(picture), *options]) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_plotted_transmission(table):
    figure = atm_table_cli.plot_transmission(AtmTable.open(table), 500e2, [2.0])
    dry, wet = figure.axes[0].lines
    assert (len(figure.axes), dry.get_label(), wet.get_label()) == (2, "dry", "2 mm")
    assert wet.get_ydata()[0] == pytest.approx(np.exp(-0.21), rel=1e-6)
    assert dry.get_ydata()[0] == pytest.approx(np.exp(-0.01), rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["info", "atlantis"], "no shipped atmosphere table 'atlantis'"),
        (["info", "nowhere/none.asdf"], "none.asdf"),
        (["build", "none.toml"], "none.toml"),
    ],
)
def test_errors_are_told(capsys, arguments, message):
    assert main(arguments) == 1
    assert message in capsys.readouterr().err


def test_pressure_outside(table, tmp_path, capsys):
    assert main(["plot", str(table), "-o", str(tmp_path / "x.png"), "--pressure", "900"]) == 1
    assert "900 hPa" in capsys.readouterr().err


def test_shipped_table_by_name(capsys):
    assert main(["info", "gbt"]) == 0
    assert "Green Bank" in capsys.readouterr().out


def test_build_writes_what_the_recipe_names(tmp_path, monkeypatch, table, capsys):
    asked = []

    def build(recipe, workers, report):
        asked.append((recipe.site, workers))
        report("part 1 done")
        return AtmTable.open(table)

    monkeypatch.setattr(atm_table_cli, "build_table", build)
    monkeypatch.chdir(tmp_path)
    assert main(["build", "gbt", "-j", "2"]) == 0
    assert asked == [("Green Bank Telescope", 2)]
    assert AtmTable.open(tmp_path / "atm_gbt.asdf").windows[0] == (100e9, 110e9)
    assert "part 1 done" in capsys.readouterr().err


def test_build_without_the_model(monkeypatch, capsys):
    def build(*_, **__):
        raise AtmModelError("install it with pip install 'cal_pipeline[atm]'")

    monkeypatch.setattr(atm_table_cli, "build_table", build)
    assert main(["build", "gbt"]) == 1
    assert "cal_pipeline[atm]" in capsys.readouterr().err


@pytest.mark.parametrize("pwv", ["-1", "nan", "inf"])
def test_a_column_of_water_that_is_none(table, tmp_path, pwv, capsys):
    assert main(["plot", str(table), "-o", str(tmp_path / "x.png"), f"--pwv={pwv}"]) == 1
    assert "mm of water vapour: expected 0 or more" in capsys.readouterr().err


def test_import(tmp_path, capsys):
    for pressure, b in ((500, 0.5), (530, 0.6)):
        (tmp_path / f"{pressure}.txt").write_text(f"# MHz\n460000 {b} 0.01\n461000 {b} 0.02\n")
    files = [str(tmp_path / "500.txt"), str(tmp_path / "530.txt")]
    output = tmp_path / "hill.asdf"
    options = ["--pressure-hpa", "500", "530", "--unit", "MHz", "-o", str(output)]
    assert main(["import", *files, *options]) == 0
    assert f"{output}: 460-461 GHz at 500-530 hPa" in capsys.readouterr().out
    b, c = AtmTable.open(output).coefficients(460.5e9, 500e2)
    assert (float(b), float(c)) == pytest.approx((0.5, 0.015), rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--pressure-hpa", "500", "-o", "x.asdf"], "--unit MHz would fit"),
        (["--pressure-hpa", "500", "-o", "x.asdf", "--unit", "furlong"], "'furlong'"),
        (["--pressure-hpa", "high", "-o", "x.asdf"], "'high'"),
        (["-o", "x.asdf"], "--pressure-hpa"),
        (["--pressure-hpa", "500"], "-o"),
    ],
)
def test_import_says_what_is_wrong(tmp_path, monkeypatch, capsys, options, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("460000 1 1\n461000 1 1\n")
    assert main(["import", "a.txt", *options]) == 1
    assert message in capsys.readouterr().err
    assert not (tmp_path / "x.asdf").exists()
