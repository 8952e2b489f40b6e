"""The documentation can be read without a network, on any screen, and what it tells to run runs."""

from __future__ import annotations

import importlib.util
import pkgutil
import re
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import cal_pipeline
from cal_pipeline import CalibrationPipeline
from cal_pipeline.cherenkov.simulate.atmosphere import GDAS_POINTS, Weather
from cal_pipeline.cli.calibpipe import TOOLS
from cal_pipeline.cli.calibrate import COMMANDS
from cal_pipeline.cli.simulate import CHERENKOV, IMAGER
from cal_pipeline.heterodyne.modes import MODES
from cal_pipeline.heterodyne.physics.strategies import STRATEGIES
from cal_pipeline.imager.layout import ATTRIBUTES
from cal_pipeline.pipelines.imager import ImagerPipeline
from cal_pipeline.steps import cherenkov

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
TUTORIALS = sorted((DOCS / "examples" / "tutorials").glob("*.py"))
"""Scripts that the build makes into pages in the folder ``tutorials``, which is no source."""
SOURCES = sorted(
    path
    for path in [*DOCS.rglob("*.rst"), *DOCS.rglob("*.inc"), *DOCS.rglob("*.md")]
    if DOCS / "tutorials" not in path.parents and DOCS / "_build" not in path.parents
)
GUIDES = [
    "README.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/README.md",
    "changes/README.md",
    ".github/PULL_REQUEST_TEMPLATE.md",
]
"""Pages in other folders that name files and modules."""
FOLDERS_OF_USERS = {"demo/", "shared/data/"}
"""Folders on the pages that are not part of the project."""
PIPELINES = [getattr(cal_pipeline, name) for name in sorted(cal_pipeline.__all__) if name.endswith("Pipeline")]


def test_pasted_commands_have_no_prompts():
    for source in SOURCES:
        text = source.read_text()
        assert not re.search(r"^\s+(\$|>>>) ", text, flags=re.M), source.name
        assert not re.search(r"\\\\$", "\n".join(blocks(text, "bash")), flags=re.M), source.name


def test_prose_is_wrapped():
    assert len(SOURCES) > 20
    check = load_module(ROOT / ".ci" / "check_wrap.py")
    for source in [
        *SOURCES,
        *(ROOT / name for name in ("README.md", "CHANGES.md", "SECURITY.md", "changes/README.md")),
    ]:
        assert check.find_long_lines(source.read_text()) == [], source.name


@pytest.mark.parametrize(
    "page", [*SOURCES, *TUTORIALS, *(ROOT / guide for guide in GUIDES)], ids=lambda page: page.name
)
def test_files_and_modules_that_pages_name_exist(page):
    text = page.read_text()
    for name in re.findall(r"(?<=`)\w[\w.-]*(?:/[\w.-]+)*(?:\.py|/)(?=`)", text):
        places = (ROOT, ROOT / "cal_pipeline", page.parent)
        assert name in FOLDERS_OF_USERS or any((place / name).exists() for place in places), name
    for name in re.findall(r"(?:auto\w+:: |`~?)(cal_pipeline\.[\w.]+)", text):
        assert pkgutil.resolve_name(name) is not None, name


def blocks(text, language):
    """The blocks of a language in a page."""
    return re.findall(rf"^\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", text, flags=re.M)


def known_parameters(pipeline):
    """Names of the parameters of a pipeline and its steps, as the command line takes them."""
    of_steps = {f"steps.{name}.{key}" for name, cls in pipeline.step_defs.items() for key in parameters(cls)}
    return of_steps | parameters(pipeline)


def test_parameters_on_the_pages_exist():
    known = {cls.class_alias or cls.__name__: known_parameters(cls) for cls in PIPELINES}
    receiver = known[CalibrationPipeline.class_alias]
    n_commands = 0
    for source in SOURCES:
        # Pages of the receivers have no room of their own, and name the steps of their pipeline only.
        others = set().union(*known.values()) if source.parent.name in ("imager", "cherenkov") else receiver
        commands = re.sub(r"\\\n\s*", "", "\n".join(blocks(source.read_text(), "bash")))
        for name, options in re.findall(r"^ *strun (?:cal_pipeline\.)?(\w+) \S+(.*)$", commands, flags=re.M):
            given = set(re.findall(r" --([a-zA-Z0-9_.]+)=", options))
            cls = next((cls for cls in PIPELINES if name in (cls.class_alias, cls.__name__)), None)
            if cls is not None:
                assert given <= known_parameters(cls), f"{source.name}: {name}"
                n_commands += 1
        named = re.findall(r"--(steps\.[a-z0-9_]+\.\w+)", source.read_text())
        assert set(named) <= others, source.name
    assert n_commands > 10


def test_every_command_has_its_options():
    text = (DOCS / "options.rst").read_text()
    described = re.findall(r"^([\w -]+)\n-+\n\n\.\. command-options:: \1$", text, flags=re.M)
    assert len(described) == text.count("command-options::")
    expected = {"strun", "calibrate", *(f"calibrate {name}" for name in COMMANDS), "cal-demo", "cal-simulate"}
    expected |= {f"cal-simulate {name}" for name in (IMAGER, CHERENKOV)}
    assert expected == {name for name in described if not name.startswith("atm-table")}
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert {name for name in scripts if not name.startswith("calibpipe")} == {name.split()[0] for name in described} - {
        "strun"
    }


def test_lists_of_options_hold_all_that_a_parser_takes():
    pytest.importorskip("sphinx")
    extension = load_extension("command_options")
    for name, options in {
        "calibrate": ["``-o L1, --output L1``", "``--set", "``--pwv MM``"],
        "calibrate compare": ["``first``", "``--tolerance"],
        "atm-table import": ["``FILE ...``", "``--unit"],
        "cal-simulate": ["``preset``", "``--pwv-per-hour"],
        "strun": ["``--save-parameters", "``cfg_file_or_class``"],
    }.items():
        parser = extension.find_parser(name)
        text = "\n".join(typed for typed, _ in extension.describe_options(parser))
        assert [option for option in options if option not in text] == [], name
        assert sorted({*parser._option_string_actions} - {*re.findall(r"-[-\w]+", text)}) == [], name


def test_tutorials_are_pages_and_leave_nothing():
    index = (DOCS / "index.rst").read_text()
    assert len(TUTORIALS) >= 3
    for script in TUTORIALS:
        assert f"   tutorials/{script.stem}\n" in index
        text = script.read_text()
        assert text.count("TemporaryDirectory()") == text.count("folder.cleanup()") == 1, script.name
        comments = [line for line in text.splitlines() if line.startswith("# ")]
        assert [line for line in comments if len(line) > 100] == [], script.name


def test_every_figure_script_is_drawn_on_a_page():
    drawn = {name for page in SOURCES for name in re.findall(r"^ *\.\. plot:: (\S+)$", page.read_text(), flags=re.M)}
    scripts = [path for path in (DOCS / "examples" / "figures").glob("*.py") if "savefig" not in path.read_text()]
    helpers = {path.name for path in scripts for other in scripts if f"from {path.stem} import" in other.read_text()}
    assert {path.name for path in scripts} - helpers == drawn


def test_the_citation_and_the_change_log_are_those_of_this_version():
    yaml = pytest.importorskip("yaml")
    pytest.importorskip("sphinx")
    extension = load_extension("project_files")
    entry = extension.format_bibtex(yaml.safe_load((ROOT / "CITATION.cff").read_text()))
    assert f"version = {{{cal_pipeline.__version__}}}" in entry
    source = [(DOCS / "changelog.md").read_text()]
    extension.write_change_log(None, "changelog", source)
    notes = [path.read_text().strip() for path in (ROOT / "changes").glob("*-*.md")]
    plain = " ".join(source[0].split())
    assert [note for note in notes if " ".join(note.split()) not in plain] == []
    assert (ROOT / "CHANGES.md").read_text().splitlines()[2] in source[0]


def test_every_step_has_its_page():
    pages = re.findall(r"^   (\w+)$", (DOCS / "steps" / "index.rst").read_text(), flags=re.M)
    assert pages == list(CalibrationPipeline.step_defs)
    for name, cls in CalibrationPipeline.step_defs.items():
        table = f".. step-parameters:: {cls.__module__}.{cls.__name__}\n"
        assert table in (DOCS / "steps" / f"{name}.rst").read_text(), name


def test_every_step_of_the_imager_has_its_table():
    pages = "".join(page.read_text() for page in (DOCS / "imager").glob("*.rst"))
    described = re.findall(r"^\.\. step-parameters:: \S+\.(\w+)$", pages, flags=re.M)
    of_imager = [pipeline for pipeline in PIPELINES if issubclass(pipeline, ImagerPipeline)]
    assert len(of_imager) == 5
    classes = {cls.__name__ for pipeline in of_imager for cls in (pipeline, *pipeline.step_defs.values())}
    assert classes - set(described) == set()
    assert len(described) == len(set(described))


def test_every_tool_has_its_keys():
    text = (DOCS / "cherenkov" / "tools.rst").read_text()
    described = re.findall(r"^(calibpipe-[\w-]+)\n\^+\n\n\.\. cherenkov-keys:: \1$", text, flags=re.M)
    assert sorted(described) == sorted(TOOLS)
    assert len(described) == text.count("cherenkov-keys::")
    for name in TOOLS.values():
        cls = getattr(cherenkov, name)
        comments = cls.load_spec_file().inline_comments
        assert [key for key in cls.own_parameters() if not (comments.get(key) or "").strip("# ")] == [], name


def test_steps_of_cherenkov_telescopes_on_the_pages_have_the_parameters():
    n_commands = 0
    for source in (DOCS / "cherenkov").glob("*.rst"):
        commands = re.sub(r"\\\n\s*", "", "\n".join(blocks(source.read_text(), "bash")))
        for name, options in re.findall(r"^ *strun cal_pipeline\.steps\.cherenkov\.(\w+) \S+(.*)$", commands, re.M):
            known = getattr(cherenkov, name).load_spec_file()
            assert set(re.findall(r" --([a-zA-Z0-9_]+)=", options)) <= set(known), f"{source.name}: {name}"
            n_commands += 1
    assert n_commands > 0


def test_every_attribute_of_an_exposure_is_described():
    text = (DOCS / "imager" / "data.rst").read_text()
    assert [name for name in ATTRIBUTES if f"``{name}``" not in text] == []


def test_every_mode_and_strategy_is_described():
    for page, names in (("prepare", MODES), ("atmosphere", STRATEGIES)):
        text = (DOCS / "steps" / f"{page}.rst").read_text()
        assert [name for name in names if f"``{name}``" not in text] == []


def parameters(cls):
    """Names of the parameters of a step, and of the reference files that it takes."""
    references = cls.reference_file_types if isinstance(cls.reference_file_types, list) else []
    return {*cls.load_spec_file(), *(f"override_{kind}" for kind in references)}


def load_module(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_extension(name):
    """Load an extension of the documentation, which may import others."""
    sys.path.insert(0, str(DOCS / "_ext"))
    try:
        return load_module(DOCS / "_ext" / f"{name}.py")
    finally:
        sys.path.remove(str(DOCS / "_ext"))


def load_runner():
    return load_module(DOCS / "examples" / "run_page.py")


@pytest.fixture
def warm_runner(warm):
    """The runner of pages, with commands that start at once; the quickstart has those that are installed."""
    runner = load_runner()
    runner.run_block = warm.run_block
    return runner


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory):
    """A folder in which the quickstart was followed, and what it printed."""
    folder = tmp_path_factory.mktemp("quickstart")
    return folder, load_runner().run_page(DOCS / "quickstart.rst", folder, skip=("pip install", "cal-demo"))


@pytest.mark.slow
def test_quickstart_runs_as_pasted_and_shows_the_line(quickstart):
    folder, output = quickstart
    # The simulated source is at rest; its CO(4-3) line has 25 K at the centre, and this pixel passes at the edge.
    peak, velocity = map(float, re.search(r"([\d.]+) K at (-?[\d.]+) km/s", output).groups())
    assert abs(velocity) < 3.0
    assert 2.0 < peak < 5.0
    assert "PWV 0.503 mm, pass" in output
    assert (folder / "spectrum.png").read_bytes().startswith(b"\x89PNG")
    assert (folder / "session_l1.zarr").is_dir()


@pytest.mark.slow
def test_own_data_are_written_and_calibrated_as_pasted(tmp_path, warm_runner):
    output = warm_runner.run_page(DOCS / "howto" / "own_data.rst", tmp_path)
    assert "no fault" in output
    scan = cal_pipeline.open_l1(tmp_path / "own_l1.zarr")[1]
    # A line of 4 K at the input of a double-sideband receiver, at rest in the middle channel.
    through = np.exp(-scan.dataset.tau_signal.values / np.sin(np.deg2rad(55.0)))
    peak = scan.average().spectrum.values[126:131].mean()
    assert peak * 0.5 * 0.95 * np.median(through) == pytest.approx(4.0, rel=0.1)
    assert abs(scan.velocity("topocent")[128].value) < 0.1
    assert np.isfinite(scan.velocity("lsrk").value).all()


@pytest.mark.slow
@pytest.mark.imager
def test_pages_of_the_imager_run_as_pasted(tmp_path, warm_runner):
    runner = warm_runner
    output = runner.run_page(DOCS / "imager" / "quickstart.rst", tmp_path)
    bias, scatter = map(float, re.search(r"off by (-?[\d.]+) errors, scatter ([\d.]+) errors", output).groups())
    assert abs(bias) < 0.05
    assert abs(scatter - 1.0) < 0.03
    assert "[15, 16, 17, 18, 19]" in output
    assert (tmp_path / "mosaic.png").read_bytes().startswith(b"\x89PNG")
    output = runner.run_page(DOCS / "imager" / "data.rst", tmp_path)
    assert "pixels with jumps" in output
    assert "4.0 0.4465632 electron / s" in output


@pytest.mark.slow
@pytest.mark.cherenkov
def test_pages_of_cherenkov_telescopes_run_as_pasted(tmp_path, warm_runner):
    missing = [name for name in TOOLS if not (Path(sys.executable).parent / name).exists()]
    if missing:
        pytest.skip(f"commands are missing beside this Python, {missing[0]} for one: install the package anew")
    output = warm_runner.run_page(DOCS / "cherenkov" / "quickstart.rst", tmp_path)
    recovered, true = map(float, re.search(r"10 km: ([\d.]+) hPa, truth ([\d.]+) hPa", output).groups())
    assert recovered == pytest.approx(true, rel=1e-3)
    density = float(re.search(r"([\d.e+]+) per cm3 at 15 km", output)[1])
    # GDAS knows one point and time of the night that the page simulates.
    air = Weather.draw(np.random.default_rng(1)).column(0, *GDAS_POINTS[0])
    assert density == pytest.approx(float(air.number_density(15.0)), rel=2e-3)
    assert (tmp_path / "night" / "products" / "contemporary_atmosphere.png").read_bytes().startswith(b"\x89PNG")
    made = sorted(path.name for path in (tmp_path / "category_c").glob("*.ecsv"))
    assert len(made) == 5


@pytest.mark.slow
def test_the_recipe_for_all_scans_silences_the_warning(quickstart):
    runner = load_runner()
    recipe = next(text for _, text in runner.read_blocks(DOCS / "formats.rst") if "open_datatree" in text)
    strict = "import warnings; warnings.simplefilter('error')\n"
    assert "scan_000001" in runner.run_block("python", strict + recipe, quickstart[0])
