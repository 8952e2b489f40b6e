"""Files and stores of strangers: what they hold is never run, and a run that refuses them names them."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from stpipe._cli.strun import main as strun

from .children import Ended, run_child, scratch, share
from .runs import Outcome, judge_message
from .sessions import Bench, listed_scans
from .stores import change_document, copy_linked, document_of

MARK = "it-ran"
"""File in the folder of a run that appears if code of a stranger runs."""

_EVIL = f"""
from pathlib import Path
from cal_pipeline import CalibrationPipeline as Base
from cal_pipeline.steps import LoadsStep
Path({MARK!r}).touch()

def hook(*_):
    Path({MARK!r}).touch()

class Evil(Base):
    "A pipeline of a stranger."

class EvilStep(LoadsStep):
    "A step of a stranger."
"""

_FILES: dict[str, dict[str, str]] = {
    "hooks in a parameter file": {
        **{f"{name} of the pipeline": f"{name} = touch {MARK},\n" for name in ("pre_hooks", "post_hooks")},
        "pre_hooks, a function": "pre_hooks = evil.hook,\n",
        "pre_hooks that the file allows itself": f"allow_code = True\npre_hooks = touch {MARK},\n",
        "Pre_Hooks": f"Pre_Hooks = touch {MARK},\n",
        **{
            f"{name} of {step}": f"[steps]\n[[{step}]]\n{name} = touch {MARK},\n"
            for step in ("loads", "prepare", "atmosphere", "calibrate")
            for name in ("pre_hooks", "post_hooks")
        },
    },
    "classes in a parameter file": {
        "class of the pipeline": "class = evil.Evil\n",
        "class of a step": "[steps]\n[[loads]]\nclass = evil.EvilStep\n",
        "class that is a file": "class = evil.py\n",
        "class in a nested file": "[steps]\n[[loads]]\nconfig_file = class.cfg\n",
        "hooks in a nested file": "[steps]\n[[loads]]\nconfig_file = hooks.cfg\n",
        "logcfg": "logcfg = log.cfg\n",
    },
}
_BESIDE = {
    "evil.py": _EVIL,
    "class.cfg": "class = evil.EvilStep\n",
    "hooks.cfg": f"post_hooks = touch {MARK},\n",
    "log.cfg": f"[*]\nhandler = append:{MARK}\n",
}

_NAMED = {
    "class.cfg": "class.cfg",
    "hooks.cfg": "hooks.cfg",
}
"""What messages name instead of the file, by a part of its text."""


class _Runs:
    """An object that runs code where it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return os.system, (f"touch {MARK}",)


@dataclass(frozen=True)
class Stranger:
    """A file or store of a stranger.

    Parameters
    ----------
    kind, case : str
        Row of the table, and the case in it.
    run : callable
        Writes the file into the folder of the run, which is the working folder, and runs a command.
    named : str
        What the message must name.
    refused : bool
        Whether nothing may be calibrated.
    """

    kind: str
    case: str
    run: Callable[[Bench, Path], int]
    named: str
    refused: bool = True


def all_strangers() -> list[Stranger]:
    """List the files and stores of strangers."""
    found = []
    for kind, files in _FILES.items():
        for name, text in files.items():
            named = next((entry for key, entry in _NAMED.items() if key in text), "mine.cfg")
            found.append(Stranger(kind, f"calibrate: {name}", _with_config(text), named))
            if not text.startswith("class"):  # strun imports the class that a file names
                found.append(Stranger(kind, f"strun: {name}", _with_strun(text), named))
    for array in ("data_5d", "tamb", "sobsmode"):
        for codec in ("numcodecs.pickle", "pickle", "numcodecs.json2", "evil.Codec"):
            run = _with_codec(array, codec)
            found.append(Stranger("codecs that run code", f"{codec} of {array}", run, array, refused=False))
    for tag in ("!<tag:yaml.org,2002:python/object/apply:os.system>", "!!python/object/apply:os.system"):
        run = _with_table(f"{tag} ['touch {MARK}']")
        found.append(Stranger("tags of an ASDF file", tag, run, "atm.asdf"))
    for source in ("file:///etc/passwd", "http://127.0.0.1:9/x.asdf", "/etc/passwd"):
        array = f"{{source: '{source}', datatype: float64, shape: [3], byteorder: little}}"
        run = _with_table(f"!core/ndarray-1.1.0 {array}")
        found.append(Stranger("references of an ASDF file", source, run, "atm.asdf"))
    return found


def _write_files(folder: Path, text: str) -> None:
    for name, content in (_BESIDE | {"mine.cfg": text}).items():
        (folder / name).write_text(content)
    sys.path.insert(0, str(folder))  # the stranger's module could be imported


def _with_config(text: str) -> Callable[[Bench, Path], int]:
    def run(bench: Bench, folder: Path) -> int:
        _write_files(folder, text)
        return bench.calibrate(None, folder / "l1.zarr", "--config", "mine.cfg")

    return run


def _with_strun(text: str) -> Callable[[Bench, Path], int]:
    def run(bench: Bench, folder: Path) -> int:
        _write_files(folder, f'name = "CalibrationPipeline"\nclass = cal_pipeline.CalibrationPipeline\n{text}')
        sys.argv = ["strun", "mine.cfg", str(bench.session), f"--output_file={folder / 'l1.zarr'}"]
        return int(strun() or 0)

    return run


def _with_codec(array: str, codec: str) -> Callable[[Bench, Path], int]:
    def run(bench: Bench, folder: Path) -> int:
        session = folder / "session.zarr"
        copy_linked(bench.session, session)
        path = session / "scan_000002/source" / array
        codecs = document_of(path)["codecs"]
        change_document(path, codecs=[{"name": codec, "configuration": {}}, *codecs[1:]])
        chunk = next(item for item in sorted((path / "c").rglob("*")) if item.is_file())
        chunk.unlink()
        chunk.write_bytes(pickle.dumps(_Runs()))
        return bench.calibrate(session, folder / "l1.zarr")

    return run


def _with_table(frequency: str) -> Callable[[Bench, Path], int]:
    def run(bench: Bench, folder: Path) -> int:
        head = "#ASDF 1.0.0\n#ASDF_STANDARD 1.6.0\n%YAML 1.1\n%TAG ! tag:stsci.edu:asdf/\n--- !core/asdf-1.1.0\n"
        (folder / "atm.asdf").write_text(f"{head}version: 2\nfrequency: {frequency}\n...\n")
        return bench.calibrate(None, folder / "l1.zarr", "--atm-table", str(folder / "atm.asdf"))

    return run


def try_strangers(bench: Bench, cases: list[Stranger], lanes: int) -> list[Outcome]:
    """Run with each file, and judge whether it ran and what was said."""
    return share(cases, partial(_try_stranger, bench), lanes)


def _try_stranger(bench: Bench, case: Stranger) -> Outcome:
    folder, outcome = scratch(bench.folder), Outcome(case.kind, case.case)

    def run() -> int:
        os.chdir(folder)
        return case.run(bench, folder)

    ended = run_child(run)
    _judge(bench, case, folder, ended, outcome)
    shutil.rmtree(folder, ignore_errors=True)
    return outcome


def _judge(bench: Bench, case: Stranger, folder: Path, ended: Ended, outcome: Outcome) -> None:
    if list(folder.rglob(MARK)):
        outcome.wrong.append("code of a stranger ran")
    if ended.timed_out:
        outcome.hand.append("the run hangs")
    listed = listed_scans(folder / "l1.zarr")
    if ended.status == 0 or (case.refused and listed):
        outcome.silent.append(f"status {ended.status} with scans {listed}")
    if not case.refused and listed != [number for number in bench.scans if number != 2]:
        outcome.lost.append(f"scans {listed} are there: only scan 2 is damaged")
    judge_message(ended, outcome)
    if case.named not in ended.output:
        outcome.silent.append(f"{case.named} is not named: {ended.output[-400:]}")
