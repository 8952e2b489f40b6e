"""The demo, on a small scale."""

from __future__ import annotations

import dataclasses

import pytest

from cal_pipeline.cli import demo
from cal_pipeline.errors import CalibrationError


@pytest.fixture
def small(monkeypatch):
    """One small scan of each telescope."""
    observations = tuple(dataclasses.replace(o, channels=128, scans=1) for o in demo.OBSERVATIONS)
    monkeypatch.setattr(demo, "OBSERVATIONS", observations)


@pytest.mark.slow
def test_demo_recovers_what_it_put_in(small, tmp_path, capsys):
    assert demo.main([str(tmp_path / "demo")]) == 0
    printed = capsys.readouterr().out
    assert "all recovered" in printed
    assert "ccat_chai" in printed
    assert "sofia_upgreat" in printed
    assert len(list((tmp_path / "demo").glob("*.png"))) == 4


@pytest.mark.slow
def test_demo_says_why_strun_failed(small, tmp_path, monkeypatch):
    broken = dataclasses.replace(demo.OBSERVATIONS[0], mode="total_power")
    monkeypatch.setattr(demo, "PIPELINE", "cal_pipeline.NoSuchPipeline")
    with pytest.raises(CalibrationError, match=r"exit status 1: .*NoSuchPipeline"):
        demo.run_observation(broken, tmp_path)
