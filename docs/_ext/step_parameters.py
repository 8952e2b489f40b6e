"""Tables made from the code: parameters of a step, arrays of L1."""

import re

from docutils import nodes
from docutils.parsers.rst import Directive
from docutils.statemachine import StringList
from stpipe import config_parser
from stpipe.utilities import import_class

from cal_pipeline.heterodyne.schema import L1_ARRAYS


class StepParameters(Directive):
    """Lists the parameters that a class adds to those of every step."""

    required_arguments = 1

    def run(self):
        cls = import_class(self.arguments[0])
        spec = config_parser.load_spec_file(cls)
        kinds = cls.reference_file_types if isinstance(cls.reference_file_types, list) else []
        if not spec and not kinds:
            return [nodes.paragraph(text="The step has no parameters of its own.")]
        lines = [".. list-table::", "   :header-rows: 1", "   :widths: 22 28 50", ""]
        lines += ["   * - parameter", "     - values [default]", "     - meaning"]
        for name, check in (spec or {}).items():
            comment = (spec.inline_comments.get(name) or "").lstrip("# ")
            lines += [f"   * - ``{name}``", f"     - {_values(check)}", f"     - {comment}"]
        for kind in kinds:
            meaning = f"The ``{kind}`` reference file to use instead of the one that is chosen."
            lines += [f"   * - ``override_{kind}``", "     - path [None]", f"     - {meaning}"]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source=self.arguments[0]), self.content_offset, container)
        return container.children


class L1Arrays(Directive):
    """Lists the arrays of an L1 scan."""

    def run(self):
        lines = [".. list-table::", "   :header-rows: 1", ""]
        lines += ["   * - array", "     - axes", "     - type, unit", "     - meaning"]
        for name, array in L1_ARRAYS.items():
            axes = " or ".join(",".join(_letter(axis) for axis in dims) or "none" for dims in array.dims)
            meaning = array.long_name.replace("*", r"\*")
            dtype = " or ".join((array.dtype, *array.other_dtypes))
            kind = f"{dtype}, {array.units}" if array.units else dtype
            lines += [f"   * - ``{name}``", f"     - {axes}", f"     - {kind}", f"     - {meaning}"]
        container = nodes.container()
        self.state.nested_parse(StringList(lines, source="L1_ARRAYS"), self.content_offset, container)
        return container.children


def _letter(axis):
    return axis[0].upper()


def _values(check):
    kind, arguments = re.fullmatch(r"(\w+)\((.*)\)", check).groups()
    default = re.search(r"default=([^,)]*)", arguments)
    rest = re.sub(r",?\s*default=[^,)]*(\(\))?", "", arguments)
    text = f"``{kind}``" if kind != "option" else "one of"
    return f"{text} {rest.replace('*', '')} [{default[1] if default else ''}]".replace("  ", " ")


def setup(app):
    app.add_directive("step-parameters", StepParameters)
    app.add_directive("l1-arrays", L1Arrays)
    return {"parallel_read_safe": True}
