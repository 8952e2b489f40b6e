"""Start of the commands, and peak memory of a run."""

from __future__ import annotations

from .tools import sessions
from .tools.measure import CommandRun, first_rounds, median_of, rounds, run_command, scratch

COMMANDS = {
    "strun": ("strun", "cal_pipeline.CalibrationPipeline", "{session}", "--scans={scans}", "--output_file={output}"),
    "calibrate": ("calibrate", "{session}", "--scans", "{scans}", "-o", "{output}"),
}


class Start:
    """Commands in processes of their own, the files of the package compiled."""

    timeout = 900
    params = tuple(COMMANDS)
    param_names = ("command",)

    def setup_cache(self) -> dict[str, float]:
        session, found = sessions.small(), {}
        runs: dict[str, list[CommandRun]] = {name: [] for name in COMMANDS}
        # The first round compiles, or reads what was compiled.
        for turn in range(first_rounds() + rounds(5)):
            for name, words in COMMANDS.items():
                with scratch() as folder:
                    given = {"session": session, "scans": 1, "output": folder / "l1.zarr"}
                    run = run_command(*(word.format(**given) for word in words))
                if turn >= first_rounds():
                    runs[name].append(run)
        for name, measured in runs.items():
            found[f"{name} start"] = median_of(run.start for run in measured)
            found[f"{name} whole"] = median_of(run.whole for run in measured)
        return found

    setup_cache.timeout = 900

    def track_start_to_the_first_scan(self, found: dict[str, float], command: str) -> float:
        return found[f"{command} start"]

    track_start_to_the_first_scan.unit = "s"

    def track_run_of_one_small_scan(self, found: dict[str, float], command: str) -> float:
        return found[f"{command} whole"]

    track_run_of_one_small_scan.unit = "s"


class Memory:
    """Peak memory of a run of three scans of 184 MB."""

    timeout = 900

    def track_three_scans(self) -> float:
        session, peaks = sessions.three(), []
        # The first run compiles, which takes memory, or reads what was compiled.
        for _ in range(first_rounds() + rounds(3)):
            with scratch() as folder:
                command = ("strun", "cal_pipeline.CalibrationPipeline", session, f"--output_file={folder / 'l1.zarr'}")
                peaks.append(run_command(*command).memory)
        return max(peaks[first_rounds() :])

    track_three_scans.unit = "MB"
