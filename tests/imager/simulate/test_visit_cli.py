"""The command `cal-simulate imager`."""

from __future__ import annotations

import pytest
import zarr

from cal_pipeline.cli import simulate

pytestmark = pytest.mark.imager


def test_a_visit_is_written(tmp_path, capsys):
    path = tmp_path / "visit.zarr"
    options = "--size=32 --seed=3 --dithers=1 --skies=1 --darks=0 --flats=1 --groups=3 --integrations=2"
    more = "--frame-time=2.5 --nframes=2 --groupgap=1 --threads=2"
    assert simulate.main(["imager", str(path), *options.split(), *more.split()]) == 0
    out = capsys.readouterr().out
    assert "visit.zarr: 3 exposures (1 FLAT, 1 SCI, 1 SKY)" in out
    assert "2 x 3 groups of 32 x 32 pixels, read every 2.5 s" in out
    assert "visit.truth.zarr" in out
    assert "visit.references" in out
    root = zarr.open_group(path, mode="r")
    assert root.attrs["seed"] == 3
    group = root["exp_000002"]
    assert group["data"].shape == (2, 3, 32, 32)
    expected = {"exp_type": "SCI", "frame_time": 2.5, "nframes": 2, "groupgap": 1}
    assert expected.items() <= dict(group.attrs).items()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--sise=3"], ["did you mean --size?", "cal-simulate imager --help"]),
        (["--size=4"], ["border 4"]),
        (["--groups=0"], ["n_groups 0 must be at least 1"]),
        (["--dithers=0", "--skies=0", "--darks=0", "--flats=0"], ["at least one exposure"]),
        (["--threads=0"], ["threads 0 must be at least 1"]),
    ],
)
def test_wrong_options_are_explained_in_one_line(arguments, words, tmp_path, capsys):
    assert simulate.main(["imager", str(tmp_path / "visit.zarr"), *arguments]) == 1
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert [word for word in words if word not in message] == []
    assert list(tmp_path.iterdir()) == []


def test_an_existing_visit_is_replaced_with_overwrite_only(tmp_path, capsys):
    path = tmp_path / "visit.zarr"
    command = ["imager", str(path), *["--size=16", "--dithers=1", "--skies=0", "--darks=0", "--flats=0", "--groups=2"]]
    assert simulate.main(command) == 0
    assert simulate.main(command) == 1
    assert "--overwrite" in capsys.readouterr().err
    assert simulate.main([*command, "--overwrite"]) == 0


def test_the_help_of_the_presets_names_the_imager(capsys):
    with pytest.raises(SystemExit):
        simulate.main(["--help"])
    assert "cal-simulate imager" in " ".join(capsys.readouterr().out.split())
