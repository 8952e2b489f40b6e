"""Tables of the page on performance, made from the figures that ``benchmarks/record.py`` has stored."""

import json
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from docutils.parsers.rst import Directive
from table_nodes import make_table

FIGURES = Path(__file__).parents[1] / "performance.json"
MISSING = "\\-"
"""Cell of what was not measured; a bare dash would begin a list."""


class Figures:
    """Stored figures by the name of their benchmark and its parameters."""

    def __init__(self, path=FIGURES):
        self.stored = json.loads(path.read_text(encoding="utf-8"))["figures"]

    def get(self, name, label=""):
        """Return a value, or None if it was not measured."""
        return self.stored.get(name, {}).get("values", {}).get(label)

    def get_all(self, name):
        """Return the values of a benchmark by their parameters."""
        return self.stored.get(name, {}).get("values", {})

    def describe_origin(self, name):
        """Describe when and on which commit a benchmark was measured."""
        figure = self.stored.get(name)
        return f"{figure['date']}, {figure['commit']}" if figure else "not measured"


@dataclass(frozen=True)
class Goal:
    """Bound on a stored figure.

    Benchmarks are times, sizes and ratios that are better when they are smaller; goals may be stated the other way
    round: `of` divided by the stored value.
    """

    what: str
    name: str
    label: str
    bound: float
    unit: str = ""
    of: float | None = None

    def read(self, figures):
        """Read the measured value as the goal states it, or None."""
        value = figures.get(self.name, self.label)
        return value if value is None or self.of is None else self.of / value

    def judge(self, value):
        """Tell whether a value meets the goal: "yes", "no", or "not measured"."""
        if value is None:
            return "not measured"
        return "yes" if (value <= self.bound if self.of is None else value >= self.bound) else "**no**"

    def state(self):
        """State the goal."""
        return f"{'≤' if self.of is None else '≥'} {self.bound:g}{self.unit}"


GOALS = (
    Goal("lossless / direct floor (zstd)", "large.Large.track_ratio", "lossless / floor_zstd", 1.25),
    Goal("lossless / direct floor (codec of L1)", "large.Large.track_ratio", "lossless / floor_lz4", 1.25),
    Goal("radiometric", "large.Large.track_time_of_a_gigabyte", "radiometric", 600, " MB/s", of=1e3),
    Goal("rate of radiometric / lossless", "large.Large.track_ratio", "radiometric / lossless", 1.5, of=1.0),
    Goal("careless script / lossless", "large.Scripts.track_ratio", "lossless / careless", 4, of=1.0),
    Goal("careful script / lossless", "large.Scripts.track_ratio", "lossless / careful", 8, of=1.0),
    Goal("``strun`` to the first scan", "start.Start.track_start_to_the_first_scan", "strun", 1.0, " s"),
    Goal("``calibrate`` to the first scan", "start.Start.track_start_to_the_first_scan", "calibrate", 1.0, " s"),
    Goal("a further small scan", "small.Small.track_further_scan", "", 25, " ms"),
    Goal("1000 small scans with everything", "small.Small.track_thousand_scans_with_start", "", 30, " s"),
    *(
        Goal(f"``{mode}`` / ``full``", "modes.Modes.track_mode_over_full", mode, 1.3)
        for mode in ("per_pixel", "per_pair", "skydiff", "gain", "dbs", "report")
    ),
    Goal("peak memory, three scans of 184 MB", "start.Memory.track_three_scans", "", 391, " MB"),
    Goal("peak memory, a scan of 40 GB", "long_huge.Huge.track_peak_memory", "", 442, " MB"),
    Goal("two workers / one, large scans", "small.Workers.track_two_workers_over_one", "large", 1.9, of=1.0),
    Goal("two workers / one, small scans", "small.Workers.track_two_workers_over_one", "small", 1.8, of=1.0),
    Goal(
        "rate between object stores / bandwidth",
        "object_store.ObjectStore.track_further_scan_over_transfer",
        "",
        0.8,
        of=1.0,
    ),
)


def format_value(value, unit=""):
    """Format a value with three digits."""
    if value is None:
        return MISSING
    text = f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{text}{unit}"


def list_goals(figures):
    """List the rows of the table of goals."""
    rows = [("figure", "goal", "measured", "met", "measured on")]
    for goal in GOALS:
        value = goal.read(figures)
        origin = figures.describe_origin(goal.name)
        rows.append((goal.what, goal.state(), format_value(value, goal.unit), goal.judge(value), origin))
    return rows


def list_figures(figures, name, what):
    """List the figures of a benchmark: a column for each of its parameters, named in `what`, and the value."""
    columns = what.split(", ")
    unit = figures.stored.get(name, {}).get("unit", "ratio")
    header = (*columns, "measured" if unit == "ratio" else f"measured [{unit}]")
    rows = [
        (*label.split(", ", len(columns) - 1), format_value(value)) for label, value in figures.get_all(name).items()
    ]
    return [header, *(rows or [("not measured", *[MISSING] * len(columns))])]


@dataclass(frozen=True)
class Plan:
    """Counts of an observatory and what calibrates them.

    Parameters
    ----------
    counts_tb : float
        Counts a day, 32 bits a sample [TB].
    hours : float
        Hours a day in which they come.
    cores : int
        Cores, each with a worker of one thread.
    gbit : float
        Network in each direction [Gbit/s].
    outage_h : float
        Outage to be caught up with [h of observing].
    """

    counts_tb: float
    hours: float
    cores: int
    gbit: float
    outage_h: float

    def compute(self, figures):
        """Compute the rows of the plan from stored figures; None where one is missing."""
        scan = figures.get("small.Workers.track_further_scan", "large, two workers")
        gigabyte = figures.get("large.Large.track_time_of_a_gigabyte", "lossless")
        whole = figures.get("large.Large.track_time", "lossless")
        memory = figures.get("start.Memory.track_three_scans")
        stored = {name: figures.get("large.Large.track_stored_bytes", name) for name in ("counts", "lossless")}
        stored["radiometric"] = figures.get("large.Large.track_stored_bytes", "radiometric")
        if None in (scan, gigabyte, whole, memory, *stored.values()):
            return None
        # A session of the benchmark has three scans; two workers share the scans.
        core = whole / gigabyte / 3.0 * 1e3 / scan / 2.0
        incoming = self.counts_tb * 1e6 / (self.hours * 3600.0)
        able = core * self.cores
        load = incoming / able
        return [
            ("counts while observing", f"{incoming:.0f} MB/s", "c = counts a day / hours of observing"),
            ("rate of one core", f"{core:.0f} MB/s", "r, measured with two workers of one thread each"),
            ("cores that keep up", f"{incoming / core:.1f}", "c / r"),
            (f"rate of {self.cores} cores", f"{able:.0f} MB/s", "n r"),
            ("disk, read", f"{incoming * stored['counts']:.0f} MB/s", "c times stored bytes of L0 for one of counts"),
            ("disk, written, lossless", f"{incoming * stored['lossless']:.0f} MB/s", "c times those of L1"),
            ("disk, written, radiometric", f"{incoming * stored['radiometric']:.0f} MB/s", "the same, rounded"),
            ("L1 of a day, lossless", f"{self.counts_tb * stored['lossless']:.1f} TB", ""),
            ("L1 of a day, radiometric", f"{self.counts_tb * stored['radiometric']:.1f} TB", ""),
            (
                "share of the network, lossless",
                f"{100 * incoming * max(stored['counts'], stored['lossless']) * 8e-3 / self.gbit:.0f} %",
                f"the larger direction, of {self.gbit:g} Gbit/s",
            ),
            ("memory", f"{self.cores * memory / 1e3:.1f} GB", f"n workers of {memory:.0f} MB each"),
            ("time for a day's counts", f"{self.counts_tb * 1e6 / able / 3600.0:.1f} h", "counts / (n r)"),
            (
                f"backlog of {self.outage_h:g} h of observing",
                self.describe_backlog(load),
                "outage * load / (1 - load), load = c / (n r), while observing goes on",
            ),
        ]

    def describe_backlog(self, load):
        """Describe how long it takes to catch up with an outage under a load."""
        return f"caught up after {self.outage_h * load / (1.0 - load):.1f} h" if load < 1.0 else "grows"


class PerformanceTable(Directive, ABC):
    """A table of the page."""

    required_arguments = 1
    final_argument_whitespace = True

    @abstractmethod
    def rows(self, figures):
        """List the rows of the table."""

    def run(self):
        self.state.document.settings.env.note_dependency(str(FIGURES))
        return make_table(self, self.rows(Figures()))


class Goals(PerformanceTable):
    """The goals, their values, and whether they are met."""

    required_arguments = 0
    final_argument_whitespace = False

    def rows(self, figures):
        return list_goals(figures)


class FigureTable(PerformanceTable):
    """The figures of one benchmark: its name, then what its parameters are."""

    def rows(self, figures):
        name, _, what = self.arguments[0].partition(" ")
        return list_figures(figures, name, what)


class PlanTable(PerformanceTable):
    """A plan: terabytes a day, hours, cores, Gbit/s and hours of outage."""

    def rows(self, figures):
        counts, hours, cores, gbit, outage = self.arguments[0].split()
        rows = Plan(float(counts), float(hours), int(cores), float(gbit), float(outage)).compute(figures)
        return [("quantity", "value", "formula"), *(rows or [("not measured", MISSING, MISSING)])]


def setup(app):
    app.add_directive("performance-goals", Goals)
    app.add_directive("performance-figures", FigureTable)
    app.add_directive("performance-plan", PlanTable)
    return {"parallel_read_safe": True}
