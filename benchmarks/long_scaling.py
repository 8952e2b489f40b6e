"""Growth of the cost with channels, pixels, dumps, scans and workers."""

from __future__ import annotations

from .tools import sessions
from .tools.measure import CORES, calibrate, is_tiny, measure_further, median_of, rounds

CHANNELS = (1024, 2048, 4096, 8192, 16384, 32768, 65536)
PIXELS = (1, 2, 4, 8, 16, 32, 64)
DUMPS = (5, 10, 20, 40, 80, 160)
SCANS = (1, 3, 10, 30, 100, 300, 1000)
WORKERS = tuple(range(1, CORES + 1))
BASE = {"channels": 4096, "dumps": 20, "pixels": 7, "subscans": 20}
"""Size of a scan whose one side is varied: 46 MB of counts."""


def measure_size(**changes: int) -> float:
    """Measure the calibration of a scan [s]."""
    size = BASE | changes
    if is_tiny():
        size = {"channels": 64, "dumps": 2, "pixels": 2, "subscans": 2}
    session = sessions.sized(**size)
    calibrate(session)
    return median_of(calibrate(session)[0] for _ in range(rounds(3)))


class Scan:
    """One scan of 4096 channels, 20 dumps, 7 pixels and 20 subscans, one of these numbers varied."""

    timeout = 1800

    def track_channels(self, channels: int) -> float:
        return measure_size(channels=channels)

    track_channels.params = [CHANNELS]
    track_channels.param_names = ["channels"]
    track_channels.unit = "s"

    def track_pixels(self, pixels: int) -> float:
        return measure_size(pixels=pixels)

    track_pixels.params = [PIXELS]
    track_pixels.param_names = ["pixels"]
    track_pixels.unit = "s"

    def track_dumps(self, dumps: int) -> float:
        return measure_size(dumps=dumps)

    track_dumps.params = [DUMPS]
    track_dumps.param_names = ["dumps"]
    track_dumps.unit = "s"


class Session:
    """Runs of small scans, and of scans of 184 MB by workers of one thread each."""

    timeout = 1800

    def track_scans(self, scans: int) -> float:
        session = sessions.thousand()
        scans = min(scans, 3) if is_tiny() else scans
        calibrate(session, scans="1:2")
        return median_of(calibrate(session, scans=f"1:{scans}")[0] for _ in range(rounds(3 if scans < 300 else 1)))

    track_scans.params = [SCANS]
    track_scans.param_names = ["scans"]
    track_scans.unit = "s"

    def track_workers(self, workers: int) -> float:
        session = sessions.night()
        few, many = 2 * workers, 5 * workers
        given = {"threads": 1} | ({"workers": workers} if workers > 1 else {})
        return median_of(measure_further(session, few, many, **given)[0] for _ in range(rounds(3)))

    track_workers.params = [WORKERS]
    track_workers.param_names = ["workers"]
    track_workers.unit = "s"
