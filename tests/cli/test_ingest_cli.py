"""``calibrate ingest``: statuses and messages."""

from __future__ import annotations

import json
import signal

import pytest
from helpers_ingest_files import snapshot, write_files, write_profile

from cal_pipeline.cli.calibrate import main
from cal_pipeline.cli.ingest import ingest_parser
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.heterodyne.ingest import recipe


@pytest.fixture
def run(tmp_path):
    """Run the command on scans in a folder."""
    profile = write_profile(tmp_path)
    (tmp_path / "out").mkdir()

    def start(*options):
        arguments = [str(tmp_path / "night"), "-o", str(tmp_path / "out/night.zarr"), "--profile", str(profile)]
        return main(["ingest", *arguments, "--threads", "1", *options])

    return start


def test_the_status_says_how_many_scans_are_there(run, tmp_path, capsys):
    session = tmp_path / "out/night.zarr"
    write_files(tmp_path / "night", 3, 4)
    assert run("--dry-run") == 0
    assert list(session.parent.iterdir()) == []
    shown = capsys.readouterr()
    assert [line.split() for line in shown.out.splitlines()[1:3]] == [
        [f"00000{scan}_barge.fits", str(scan), "2", "OFF,", "2", "ON", "added:", "source", "0,", "1"] for scan in (3, 4)
    ]
    assert run() == 0
    logged = capsys.readouterr().err
    assert "scan 3: 1 OFF, 1 ON, 2 pixels x 16 channels, 0.0 MB" in logged
    before = snapshot(session)
    assert run("-q") == 0
    assert capsys.readouterr() == ("", "")
    write_files(tmp_path / "night", 4, value=1.0)
    assert run("--dry-run") == 2
    assert run("--dry-run", "--scans", "4") == 1
    assert run("--scans", "3") == 0
    assert {path: found for path, found in snapshot(session).items() if "out" in path} == {
        path: found for path, found in before.items() if "out" in path
    }
    capsys.readouterr()
    assert run("--scans", "4") == 1
    told = capsys.readouterr().err
    assert "scan 4 failed: OutputExistsError: scan 4 is in " in told
    assert told.endswith(
        f"calibrate: 1 of 1 scan could not be ingested; {session} is left as it was; the first was scan 4: "
        + json.loads((session / "ingest.json").read_text())["failures"][0]["message"]
        + "\n"
    )
    assert run("-q") == 2
    assert f"calibrate: 1 of 2 scans could not be ingested; see {session}/ingest.json" in capsys.readouterr().err
    assert run("--overwrite") == 0


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_finished_scans(run, tmp_path, monkeypatch, capsys, number, status):
    write_files(tmp_path / "night", 3, 4)
    write = recipe.write_scan

    def interrupt(plan, *rest):
        if plan.number == 4:
            signal.raise_signal(number)
        return write(plan, *rest)

    monkeypatch.setattr(recipe, "write_scan", interrupt)
    assert run() == status
    session = tmp_path / "out/night.zarr"
    assert f"calibrate: interrupted; 1 of 2 scans finished and kept in {session}" in capsys.readouterr().err
    assert list(json.loads((session / "ingest.json").read_text())["scans"]) == ["3"]


def test_a_record_that_is_not_written_has_a_status_of_its_own(run, tmp_path, monkeypatch):
    write_files(tmp_path / "night", 3)

    def refuse(self, key, content):
        raise OSError(28, "No space left on device", key)

    monkeypatch.setattr(LocalOutput, "put_record", refuse)
    assert run() == 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["night"], "the following arguments are required: -o/--output"),
        (["-o", "s.zarr"], "the following arguments are required: PATH"),
        (
            ["night", "-o", "s.zarr", "--profil", "x", "--dryrun"],
            "unrecognized option --dryrun; did you mean --dry-run?",
        ),
        (["nowhere", "-o", "s.zarr", "--profile", "gbt_wband"], "nowhere is not there"),
        (["night", "-o", "s.fits"], "ends in '.fits'; a session is a Zarr store"),
        (["night", "-o", "s.zarr", "--profile", "gbt_wbnd"], "gbt_wband"),
        (["night", "-o", "s.zarr", "--scans", "3:x"], "'3:x' is neither a scan number nor a range"),
    ],
)
def test_wrong_invocations(arguments, words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_files(tmp_path / "night", 3)
    write_profile(tmp_path)
    if "--profile" not in arguments:
        arguments = [*arguments, "--profile", "barge.toml"]
    assert main(["ingest", *arguments]) == 1
    assert words in capsys.readouterr().err
    assert not (tmp_path / "s.zarr").exists()


def test_the_profile_is_chosen_by_default():
    given = ingest_parser().parse_args(["night", "-o", "x.zarr"])
    assert (given.profile, given.scans, given.overwrite, given.dry_run, given.threads) == (
        "auto",
        None,
        False,
        False,
        None,
    )
