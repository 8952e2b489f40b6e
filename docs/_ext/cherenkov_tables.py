"""Tables of the Cherenkov family made from the code: tools, keys, exit statuses, tables of the database."""

from docutils import nodes
from docutils.parsers.rst import Directive
from table_nodes import make_table

from cal_pipeline.cherenkov.errors import CONFIGURATION, CORRUPTED, FALLBACK, MISSING, STORAGE, TOO_FEW
from cal_pipeline.cherenkov.tools import SELF
from cal_pipeline.cli.calibpipe import TOOLS
from cal_pipeline.steps import cherenkov as steps

STATUSES = {
    0: "all products are made",
    1: "another error; please report it",
    FALLBACK: "the products are made by a fallback, try again later",
    CONFIGURATION: "configuration: unknown section, key or value, or no place or time of the night",
    STORAGE: "a file or the database cannot be written, or a product exists",
    CORRUPTED: "an input is not what its format says",
    MISSING: "an input is missing",
    TOO_FEW: "too few events; the products of telescopes that have enough are written",
}
"""Meaning of the exit statuses of the tools."""


def list_tools():
    """List the step classes by command."""
    return {command: getattr(steps, name) for command, name in TOOLS.items()}


class Tools(Directive):
    """Lists the tools with their sections and steps."""

    def run(self):
        rows = [("command", "section", "step", "input")]
        for command, cls in list_tools().items():
            tool = cls.tool
            source = "the section" if tool.source == SELF else f"``{tool.source}``" if tool.source else ""
            rows.append((f"``{command}``", f"``{tool.section}``", f"``{cls.class_alias}``, ``{cls.__name__}``", source))
        return make_table(self, rows)


class ToolKeys(Directive):
    """Lists the keys of one tool."""

    required_arguments = 1

    def run(self):
        cls = list_tools()[self.arguments[0]]
        spec = cls.load_spec_file()
        rows = [("key", "meaning", "default")]
        if cls.tool.source not in ("", SELF):
            rows.append((f"``{cls.tool.source}``", "Input", f"such as ``{cls.example_input}``"))
        for name, default in cls.own_parameters().items():
            comment = (spec.inline_comments.get(name) or "").replace("%%", "%").lstrip("# ").strip()
            shown = (
                "" if default is None else ", ".join(map(str, default)) if isinstance(default, list) else str(default)
            )
            rows.append((f"``{name}``", comment, f"``{shown}``" if shown else ""))
        found = list(make_table(self, rows))
        for title, names in (("Further sections", cls.tool.handlers), ("Without meaning here", cls.tool.unused)):
            if names:
                text = f"{title}: {', '.join(sorted(names))}."
                found.append(nodes.paragraph(text=text))
        return found


class Statuses(Directive):
    """Lists the exit statuses of the tools."""

    def run(self):
        return make_table(self, [("status", "meaning"), *((str(key), text) for key, text in STATUSES.items())])


class DatabaseTables(Directive):
    """Lists the tables of the database."""

    def run(self):
        from cal_pipeline.cherenkov.database.tables import Base

        rows = [("table", "columns")]
        for name, table in Base.metadata.tables.items():
            columns = []
            for column in table.columns:
                unit = column.info.get("unit")
                shown = f"{column.name} [{unit}]" if unit else column.name
                columns.append(f"*{shown}*" if column.primary_key else shown)
            rows.append((f"``{name}``", ", ".join(columns)))
        return make_table(self, rows)


def setup(app):
    app.add_directive("cherenkov-tools", Tools)
    app.add_directive("cherenkov-keys", ToolKeys)
    app.add_directive("cherenkov-statuses", Statuses)
    app.add_directive("cherenkov-database", DatabaseTables)
    return {"parallel_read_safe": True}
