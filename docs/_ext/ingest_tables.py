"""Tables of profiles of FITS files made from the code: fields with their units, shipped profiles."""

from docutils.parsers.rst import Directive
from parameter_choice import _depends_on
from table_nodes import make_table

from cal_pipeline.heterodyne.ingest.fields import MAP_FIELDS, PIXEL_FIELDS, SCAN_FIELDS
from cal_pipeline.heterodyne.ingest.profile import PROFILES, open_profile, shipped_profiles
from cal_pipeline.heterodyne.ingest.sorting import DEFAULTS

SECTIONS = {"scan": SCAN_FIELDS, "map": MAP_FIELDS, "pixel": PIXEL_FIELDS}

ABSENT = {"image_freq": "``signal_freq``", "receiver": "0", "array": "0", "band": "0"}
"""Values of fields that a profile does not mention, beside the numbers of the code."""


class IngestFields(Directive):
    """Lists the fields of a section of a profile."""

    required_arguments = 1

    def run(self):
        rows = [("field", "unit", "without a value", "meaning")]
        for field in SECTIONS[self.arguments[0]].values():
            unit = "date or d" if field.kind == "time" else field.unit
            rows.append((f"``{field.name}``", unit, describe_absence(field), field.meaning))
        return make_table(self, rows)


def describe_absence(field):
    """Describe the value of a field that has none."""
    if field.name in ABSENT:
        return ABSENT[field.name]
    if field.name in DEFAULTS:
        return str(DEFAULTS[field.name]).replace("nan", "NaN")
    return "the scan fails" if field.required else "absent"


class IngestProfiles(Directive):
    """Lists the profiles that come with the package."""

    def run(self):
        rows = [("profile", "reader", "chosen where", "counts", "phases")]
        for name in shipped_profiles():
            _depends_on(self, PROFILES / f"{name}.toml")
            profile = open_profile(name)
            match = "; ".join(f"``{key}`` is {join_names(wanted)}" for key, wanted in profile.match.items())
            phases = dict.fromkeys(rule.phase for rule in profile.phase if rule.phase not in ("FAIL", "IGNORE"))
            cells = (profile.reader, match or "it is named", f"``{profile.counts}``", ", ".join(phases))
            rows.append((f"``{name}``", *cells))
        return make_table(self, rows)


def join_names(names):
    """Join names with an or."""
    return " or ".join(f"``{name}``" for name in names)


def setup(app):
    app.add_directive("ingest-fields", IngestFields)
    app.add_directive("ingest-profiles", IngestProfiles)
    return {"parallel_read_safe": True}
