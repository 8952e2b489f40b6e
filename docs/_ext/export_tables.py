"""Columns of exported files, made from their declarations."""

from docutils.parsers.rst import Directive
from table_nodes import make_table

from cal_pipeline.heterodyne.export import FORMATS

KINDS = {"A": "text", "J": "int32", "E": "float32", "D": "float64"}


class ExportColumns(Directive):
    """Lists the columns of a format."""

    required_arguments = 1

    def run(self):
        rows = [("column", "type, unit", "meaning")]
        for column in FORMATS[self.arguments[0]].columns:
            kind = f"{KINDS[column.kind]}, {column.unit}" if column.unit else KINDS[column.kind]
            rows.append((f"``{column.name}``", kind, column.meaning.replace("*", r"\*")))
        return make_table(self, rows)


def setup(app):
    app.add_directive("export-columns", ExportColumns)
    return {"parallel_read_safe": True}
