"""Mistakes on the command line: one message of at most five lines, with cause and remedy, and status 1."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import stpipe._cli.strun
from helpers_l0 import write_scan

from cal_pipeline import CalibrationPipeline
from cal_pipeline.cli import atm_table as atm_table_cli
from cal_pipeline.cli import calibrate as cli
from cal_pipeline.cli import demo
from cal_pipeline.cli import simulate as simulate_cli

PIPELINE = "cal_pipeline.CalibrationPipeline"


def strun():
    stpipe._cli.strun.main()


COMMANDS = {
    "strun": strun,
    "calibrate": cli.main,
    "atm-table": atm_table_cli.main,
    "cal-simulate": simulate_cli.main,
    "cal-demo": demo.main,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a session of two scans and files that are not what they should be."""
    folder = tmp_path_factory.mktemp("wrong")
    for number in (1, 2):
        write_scan(folder / "s.zarr", number)
    (folder / "empty").mkdir()
    (folder / "l1.zarr").mkdir()
    (folder / "l1.zarr" / "zarr.json").write_text(
        '{"zarr_format": 3, "node_type": "group", "attributes": {"cal_schema_version": "1.0"}}'
    )
    (folder / "others").mkdir()
    (folder / "others" / "thesis.txt").write_text("all of it")
    (folder / "text.txt").write_text("no session")
    (folder / "text.asdf").write_text("no table")
    (folder / "empty.asdf").write_text("#ASDF 1.0.0\n#ASDF_STANDARD 1.5.0\n%YAML 1.1\n--- {a: 1}\n...\n")
    (folder / "odd.toml").write_text('nmae = "X"\n')
    (folder / "no_class.cfg").write_text("scans = 1\n")
    (folder / "no_such_class.cfg").write_text('class = "cal_pipeline.CalibratePipeline"\n')
    (folder / "no_such_parameter.cfg").write_text(f'class = "{PIPELINE}"\n[steps]\n[[loads]]\nimage_gian = 1\n')
    (folder / "top_level.cfg").write_text(f'class = "{PIPELINE}"\n[loads]\nimage_gain = 1\n')
    (folder / "wrong_value.cfg").write_text(f'class = "{PIPELINE}"\n[steps]\n[[loads]]\nimage_gain = much\n')
    (folder / "broken.cfg").write_text("[steps\nscans\n")
    return folder


WRONG = [
    # The class or the parameter file.
    (
        "strun cal_pipeline.CalibrationPipelin s.zarr",
        ["'cal_pipeline.CalibrationPipelin'", "did you mean cal_pipeline.CalibrationPipeline?"],
    ),
    ("strun CalibrationPipeline s.zarr", ["neither a class nor a parameter file", "cal_pipeline.CalibrationPipeline?"]),
    ("strun calibration_pipelin s.zarr", ["did you mean calibration_pipeline?"]),
    ("strun cal_pipeline.steps.LoadStep s.zarr", ["did you mean cal_pipeline.steps.LoadsStep?"]),
    ("strun nothing.of.Ours s.zarr", ["neither a class nor a parameter file", "as in strun"]),
    ("strun no_clas.cfg s.zarr", ["no parameter file no_clas.cfg", "did you mean no_class.cfg?"]),
    ("strun no_such_class.cfg s.zarr", ["no_such_class.cfg", "CalibratePipeline"]),
    ("strun no_such_parameter.cfg s.zarr", ["image_gian", "did you mean 'image_gain'"]),
    ("strun top_level.cfg s.zarr", ["'loads'"]),
    ("strun wrong_value.cfg s.zarr", ["image_gain", "much", "a number of at least 0"]),
    # The session.
    (f"strun {PIPELINE}", ["no session given", "session.zarr"]),
    (f"strun {PIPELINE} s.zarr l1.zarr", ["one session at a time", "s.zarr l1.zarr"]),
    (f"strun {PIPELINE} nothing.zarr", ["nothing.zarr", "not there"]),
    (f"strun {PIPELINE} others", ["others", "no Zarr v3 group"]),
    (f"strun {PIPELINE} text.txt", ["text.txt"]),
    (f"strun {PIPELINE} l1.zarr --output_file=x.zarr", ["l1.zarr", "expected groups scan_NNNNNN"]),
    (f"strun {PIPELINE} foo://night/s.zarr", ["foo://night/s.zarr"]),
    ("strun cal_pipeline.steps.LoadsStep s.zarr", ["2 scans", "s.zarr/scan_000001"]),
    ("strun cal_pipeline.steps.LoadsStep s.zarr/scan_000009", ["has no scan 9", "1, 2"]),
    # The output.
    (f"strun {PIPELINE} s.zarr --output_file=l1.zarr", ["l1.zarr exists", "--overwrite=true"]),
    (f"strun {PIPELINE} s.zarr --output_file=others --overwrite=true", ["others", "no L1 store"]),
    (f"strun {PIPELINE} s.zarr --output_file=others", ["others", "no L1 store", "name another output"]),
    (f"strun {PIPELINE} s.zarr --output_file=..", ["one contains the other"]),
    (f"strun {PIPELINE} s.zarr --output_file=/", ["root folder", "l1.zarr"]),
    (f"strun {PIPELINE} s.zarr --output_file=x.zarr --output_dir=text.txt", ["output_dir", "text.txt", "folder"]),
    (f"strun {PIPELINE} s.zarr --output_file=s.zarr --overwrite=true", ["one contains the other"]),
    (f"strun {PIPELINE} s.zarr --output_file=l1.asdf", ["l1.asdf", ".zarr"]),
    (f"strun {PIPELINE} s.zarr --output_file=text.txt/l1.zarr", ["text.txt"]),
    (f"strun {PIPELINE} s.zarr --output_file={'n' * 300}.zarr", ["cannot be written", "File name too long"]),
    # Options and their values.
    (f"strun {PIPELINE} s.zarr --outputfile=x.zarr", ["--outputfile", "did you mean --output_file?"]),
    (f"strun {PIPELINE} s.zarr --steps.lods.image_gain=0", ["did you mean --steps.loads.image_gain?"]),
    (f"strun {PIPELINE} s.zarr --steps.loads.strategy=full", ["--steps.loads.strategy"]),
    (f"strun {PIPELINE} s.zarr --scans", ["--scans", "expected one argument"]),
    (f"strun {PIPELINE} s.zarr --steps.a=1", ["ambiguous option: --steps.a"]),
    (f"strun {PIPELINE} s.zarr --steps.loads.image_gain=much", ["image_gain", "much", "a number of at least 0"]),
    (f"strun {PIPELINE} s.zarr --steps.loads.image_gain=-1", ["image_gain", "-1", "at least 0"]),
    (f"strun {PIPELINE} s.zarr --steps.loads.forward_efficiency=1.4", ["forward_efficiency", "up to 1"]),
    (f"strun {PIPELINE} s.zarr --steps.atmosphere.strategy=ful", ["strategy", "'full', 'per_pixel'"]),
    (f"strun {PIPELINE} s.zarr --workers=0", ["workers", "min=1"]),
    (f"strun {PIPELINE} s.zarr --scans=9", ["no scan 9", "1, 2"]),
    (f"strun {PIPELINE} s.zarr --scans=1-2", ["'1-2'", "25660:25670"]),
    (f"strun {PIPELINE} s.zarr --scans=2:1", ["2:1"]),
    (f"strun {PIPELINE} s.zarr --scans=1,,2", ["--scans=1,,2", "commas", "1,2"]),
    (f"strun {PIPELINE} s.zarr --log-level=LOUD", ["--log-level", "DEBUG"]),
    (f"strun {PIPELINE} s.zarr --log-stream=screen", ["--log-stream", "stderr"]),
    (f"strun {PIPELINE} s.zarr --log-file=nowhere/run.log", ["--log-file", "nowhere/run.log"]),
    (f"strun {PIPELINE} s.zarr --steps.atmosphere.strategy=fixed", ["pwv"]),
    (f"strun {PIPELINE} s.zarr --steps.atmosphere.pwv=0.5", ["pwv", "strategy", "fixed"]),
    (f"strun {PIPELINE} s.zarr --steps.atmosphere.pwv_min=2 --steps.atmosphere.pwv_max=1", ["pwv_min", "pwv_max"]),
    # Reference files.
    (f"strun {PIPELINE} s.zarr --steps.atmosphere.override_atm=none.asdf", ["override_atm", "none.asdf"]),
    (f"strun {PIPELINE} s.zarr --steps.atmosphere.override_atm=text.asdf", ["text.asdf"]),
    (f"strun {PIPELINE} s.zarr --steps.atmosphere.override_atm=empty.asdf", ["empty.asdf"]),
    (f"strun {PIPELINE} s.zarr --steps.loads.override_telescope=none.toml", ["override_telescope", "none.toml"]),
    (f"strun {PIPELINE} s.zarr --steps.loads.override_telescope=odd.toml", ["odd.toml", "nmae", "did you mean 'name'"]),
    # Our own commands.
    ("calibrate", ["one session is needed", "calibrate session.zarr"]),
    ("calibrate s.zarr -i s.zarr", ["one session is needed", "s.zarr and s.zarr"]),
    ("calibrate nothing.zarr", ["nothing.zarr", "not there"]),
    ("calibrate s.zarr -o l1.zarr", ["l1.zarr exists", "give --overwrite to"]),
    ("calibrate s.zarr --ouput x.zarr", ["did you mean --output?"]),
    ("calibrate s.zarr --physics newtonian", ["'newtonian'", "exact"]),
    ("calibrate s.zarr --mode tpp", ["mode", "tpp", "total_power"]),
    ("calibrate s.zarr --pwv 1 --pwv-per-pixel", ["not allowed with"]),
    ("calibrate s.zarr --workers many", ["--workers", "many"]),
    ("calibrate s.zarr --set workers", ["--set 'workers'", "NAME=VALUE"]),
    ("calibrate s.zarr --set lods.image_gain=0", ["lods", "loads"]),
    ("calibrate s.zarr --set loads.image_gian=0", ["image_gian", "did you mean 'image_gain'"]),
    ("calibrate s.zarr --config none.cfg", ["none.cfg"]),
    ("calibrate s.zarr --atm-table none.asdf", ["none.asdf"]),
    ("calibrate inf s.zarr", ["'inf'", "did you mean calibrate info?"]),
    ("calibrate info nothing.zarr", ["nothing.zarr"]),
    ("calibrate info", ["session", "required"]),
    ("calibrate replay l1.zarr 5", ["has no scan 5"]),
    ("calibrate replay l1.zarr five", ["'five'"]),
    ("atm-table", ["build,info,plot", "atm-table --help"]),
    ("atm-table info nothing", ["'nothing'", "ccat"]),
    ("atm-table info text.asdf", ["text.asdf"]),
    ("atm-table plot ccat", ["-o"]),
    ("atm-table plot ccat -o others", ["-o others", ".png"]),
    ("atm-table plot ccat -o x.xyz", ["-o x.xyz", ".png"]),
    ("cal-simulate ccat_chai l1.zarr --overwrite", ["l1.zarr exists without l1.truth.zarr", "choose another name"]),
    ("cal-simulate alma x.zarr", ["'alma'", "ccat_chai"]),
    ("cal-simulate ccat_chai x.zarr --rows 3", ["--rows does not go with --mode total_power"]),
    ("cal-simulate ccat_chai x.zarr --chanels 16", ["did you mean --channels?"]),
    ("cal-demo --folder x", ["unrecognized option --folder"]),
]


@pytest.mark.slow
@pytest.mark.parametrize(("line", "words"), WRONG, ids=[line[:60] for line, _ in WRONG])
def test_a_wrong_line_ends_with_one_message(line, words, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    command, *arguments = line.split()
    monkeypatch.setattr(sys, "argv", [command, *arguments])
    if command == "strun":
        with pytest.raises(SystemExit) as ended:
            COMMANDS[command]()
        status = ended.value.code
    else:
        status = COMMANDS[command](arguments)
    captured = capsys.readouterr()
    assert status == 1, captured
    message = captured.err.strip()
    assert message.startswith(f"{command}: ")
    assert len(message.splitlines()) <= 5, message
    assert "Traceback" not in message
    assert not captured.out
    missing = [word for word in words if word not in message]
    assert not missing, message


def test_an_empty_name_is_no_session(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    assert cli.main([""]) == 1
    assert "no session given" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["run#2.zarr", "a,b.zarr", "it's.zarr", 'a"b.zarr', " x .zarr"])
def test_names_with_signs_of_parameter_files(name, folder, tmp_path, monkeypatch):
    """Signs of comments, lists and quotations in parameter files are parts of a name on the command line."""
    seen = []
    monkeypatch.setattr(CalibrationPipeline, "process", lambda self, source: seen.append(self.output_file))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["strun", PIPELINE, "s.zarr", f"--output_file={name}"])
    with pytest.raises(SystemExit) as ended:
        strun()
    assert (ended.value.code, seen) == (0, [name])


def test_messages_on_values_name_no_class_of_python(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["strun", PIPELINE, "s.zarr", "--overwrite=maybe"])
    with pytest.raises(SystemExit):
        strun()
    message = capsys.readouterr().err
    assert message.startswith("strun: CalibrationPipeline: overwrite: ")
    assert "CAL_PIPELINE_DEBUG" not in message


@pytest.mark.slow
@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("broken.cfg", "line 1"),
        ("text.asdf", "text.asdf cannot be read"),
        ("no_class.cfg", "class = cal_pipeline.CalibrationPipeline"),
    ],
)
def test_a_parameter_file_that_cannot_be_read(folder, warm, file, words):
    ran = warm.run("strun", file, "s.zarr", cwd=folder)
    assert ran.returncode == 1
    assert words in ran.stderr
    assert len(ran.stderr.splitlines()) <= 5


@pytest.mark.slow
def test_nothing_was_written(folder):
    assert not list(folder.glob("*_l1.zarr"))
    assert not list(folder.glob("*.staging"))


@pytest.mark.slow
def test_strun_and_the_debugger(folder, monkeypatch, capsys):
    started = []
    monkeypatch.setattr("pdb.post_mortem", lambda: started.append(True))
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["strun", PIPELINE, "nothing.zarr", "--debug"])
    with pytest.raises(SystemExit):
        strun()
    assert started
    assert "nothing.zarr" in capsys.readouterr().err


def test_classes_of_other_packages_are_left_to_stpipe(folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["strun", "stpipe.Pipeline", "--no-such-option"])
    with pytest.raises(SystemExit) as ended:
        strun()
    assert ended.value.code == 2
    assert "usage:" in capsys.readouterr().err
