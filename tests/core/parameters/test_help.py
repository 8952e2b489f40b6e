"""The help of every class that the command line lists, also as newer Pythons check it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from stpipe import Step, _cmdline
from stpipe.utilities import import_class

from cal_pipeline.cli.strun import _Parser
from cal_pipeline.registry import list_steps
from cal_pipeline.steps import CalibrateStep
from cal_pipeline.steps.heterodyne.base import CalibrationStep

CLASSES = [name for name, _, _ in list_steps()]


def parser_of(cls, monkeypatch):
    """The parser of ``strun`` for a class of this package."""
    monkeypatch.setattr(_cmdline, "argparse", SimpleNamespace(ArgumentParser=_Parser))
    return _cmdline._build_arg_parser_from_spec(cls.load_spec_file(), cls, parent=_cmdline._build_parent_arg_parser())


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_help_prints(name, capsys):
    with pytest.raises(SystemExit) as ended:
        Step.from_cmdline([name, "--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert "%%" not in text
    assert "--save_results" in text


@pytest.mark.parametrize("name", CLASSES)
def test_every_option_passes_the_check_that_newer_pythons_make_when_it_is_added(name):
    cls = import_class(name)
    parser = _cmdline._build_arg_parser_from_spec(cls.load_spec_file(), cls, parent=_cmdline._build_parent_arg_parser())
    formatter = parser._get_formatter()
    for action in parser._actions:
        if action.help:
            formatter._expand_help(action)


def test_the_sign_stands_in_the_help_once(monkeypatch):
    assert "Exact, or rounded to 1 % of sigma" in parser_of(CalibrateStep, monkeypatch).format_help()


class _PercentStep(CalibrationStep):
    """Take 5 % off."""

    class_alias = "percent"

    spec = """
    share  = float(default=0.5)              # Share, 100 % is 1; in a format %d %(prog)s; escaped %%
    format = string(default='%Y-%m at 5 %')  # Form of a date
    """


def test_whatever_a_step_writes_is_printed_as_it_is(monkeypatch):
    text = " ".join(parser_of(_PercentStep, monkeypatch).format_help().split())
    assert "Take 5 % off." in text
    assert "Share, 100 % is 1; in a format %d %(prog)s; escaped %% [default=0.5]" in text
    assert "Form of a date [default='%Y-%m at 5 %']" in text
    assert _PercentStep().format == "%Y-%m at 5 %"


def test_the_printed_specification_is_as_it_was_written(capfdbinary):
    CalibrateStep.print_configspec()
    sys.stdout.flush()
    printed = capfdbinary.readouterr().out.decode()
    assert "# Exact, or rounded to 1 % of sigma" in printed


@pytest.mark.slow
def test_help_of_the_command_has_status_0():
    strun = Path(sys.executable).with_name("strun")
    done = subprocess.run(
        [strun, "cal_pipeline.CalibrationPipeline", "--help"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0
    assert done.stdout.count("1 % of sigma") == 1
