"""Tables made from data files: parameter files for data, telescope profiles, pipelines of exposure types."""

from docutils.parsers.rst import Directive
from table_nodes import make_table

from cal_pipeline.core.files.selection import cfg_folder, read_choices
from cal_pipeline.heterodyne.parameter_files import CHOICES
from cal_pipeline.heterodyne.references.telescope import open_profile, shipped_profiles
from cal_pipeline.imager.exposure_types import FILE, read_exposure_table

PIPELINE = "CalibrationPipeline"


class ParameterChoice(Directive):
    """Lists the parameter files, the data they are meant for, and what each is."""

    def run(self):
        _depends_on(self, cfg_folder() / CHOICES.file)
        rows = [(*CHOICES.keys, "pipeline", "parameters", "meant for")]
        for choice in read_choices(CHOICES):
            data = [_pattern(choice.patterns[key]) for key in CHOICES.keys if choice.automatic]
            given = data or ["when it is named", *[""] * (len(CHOICES.keys) - 1)]
            rows.append((*given, f"``{PIPELINE}``", f"``{choice.parameters}``", choice.purpose))
        return make_table(self, rows)


class TelescopeProfiles(Directive):
    """Lists the profiles that come with the package and their frontends."""

    def run(self):
        rows = [("profile", "frontend", "GHz", "forward, beam efficiency", "source of the efficiencies")]
        for path in shipped_profiles():
            _depends_on(self, path)
            profile = open_profile(path)
            rows += [
                (
                    f"``{path.name}``",
                    ", ".join(f"``{name}``" for name in frontend.names),
                    _gigahertz(frontend.frequency_range_hz),
                    f"{frontend.forward_efficiency:.2f}, {frontend.beam_efficiency:.2f}",
                    frontend.reference,
                )
                for frontend in profile.frontends
            ] or [(f"``{path.name}``", "none", _gigahertz(profile.frequency_range_hz), "", "")]
        return make_table(self, rows)


class ExposureTypes(Directive):
    """Lists the exposure types of imagers and the pipelines that run on them."""

    def run(self):
        _depends_on(self, cfg_folder() / FILE)
        rows = [("exp_type", "tso", "role", "stage 1", "stage 2", "stage 3", "exposures")]
        rows += [
            (
                f"``{row.exp_type}``",
                "both" if row.tso is None else str(row.tso).lower(),
                row.role,
                *(f"``{alias}``" if alias else "" for alias in (row.stage1, row.stage2, row.stage3)),
                row.purpose,
            )
            for row in read_exposure_table().rows
        ]
        return make_table(self, rows)


def _pattern(value):
    return "any" if value == "*" else f"``{value}``"


def _gigahertz(span):
    return " to ".join(f"{hertz / 1e9:g}" for hertz in span)


def _depends_on(directive, path):
    """Have Sphinx read the page again when the file changes."""
    directive.state.document.settings.env.note_dependency(str(path))


def setup(app):
    app.add_directive("parameter-choice", ParameterChoice)
    app.add_directive("telescope-profiles", TelescopeProfiles)
    app.add_directive("exposure-types", ExposureTypes)
    return {"parallel_read_safe": True}
