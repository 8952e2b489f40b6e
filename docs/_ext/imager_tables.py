"""Tables of the infrared imager made from the code: flags, arrays of images, reference files."""

import numpy as np
from docutils.parsers.rst import Directive
from table_nodes import make_table

from cal_pipeline.imager.dq import DQ, EVENTS
from cal_pipeline.imager.reference_files import CONTENTS
from cal_pipeline.imager.schema import IMAGES

MEANINGS = {
    DQ.DO_NOT_USE: "has no value to use",
    DQ.SATURATED: "a group is saturated, or follows one that is",
    DQ.JUMP_DET: "a ramp jumped, as cosmic rays make it",
    DQ.DROPOUT: "data were lost",
    DQ.OUTLIER: "frames disagree so much that none could be left out",
    DQ.PERSISTENCE: "an earlier exposure glows on",
    DQ.AD_FLOOR: "a count is at the floor of the converter",
    DQ.CHARGELOSS: "charge moved to a neighbour",
    DQ.RESERVED: "without meaning",
    DQ.NON_SCIENCE: "sees no sky",
    DQ.DEAD: "does not respond",
    DQ.HOT: "has a high dark rate",
    DQ.WARM: "has a raised dark rate",
    DQ.LOW_QE: "responds weakly",
    DQ.RC: "decays like a resistor and capacitor",
    DQ.TELEGRAPH: "jumps between levels",
    DQ.NONLINEAR: "responds very non-linearly",
    DQ.BAD_REF_PIXEL: "reference pixel that is not used",
    DQ.NO_FLAT_FIELD: "has no flat field",
    DQ.NO_GAIN_VALUE: "has no positive gain or read noise",
    DQ.NO_LIN_CORR: "has no linearity polynomial",
    DQ.NO_SAT_CHECK: "has no saturation threshold",
    DQ.UNRELIABLE_BIAS: "has no bias; 0 was subtracted",
    DQ.UNRELIABLE_DARK: "has no dark rate; 0 was subtracted",
    DQ.UNRELIABLE_SLOPE: "rate has a large error",
    DQ.UNRELIABLE_FLAT: "flat field has a large error",
    DQ.OPEN: "has no contact to the readout",
    DQ.ADJ_OPEN: "is a neighbour of an open pixel",
    DQ.FLUX_ESTIMATED: "value was estimated",
    DQ.MSA_FAILED_OPEN: "sees light of a shutter that does not close",
    DQ.OTHER_BAD_PIXEL: "is bad for another reason",
    DQ.REFERENCE_PIXEL: "sees no light by design",
}
"""Meaning of each flag, said of a pixel."""


class Flags(Directive):
    """Lists the flags of pixels, and which of them are events."""

    def run(self):
        rows = [("bit", "value", "name", "event", "meaning")]
        for flag in DQ:
            is_event = bool(np.uint32(flag) & EVENTS)
            bit = flag.value.bit_length() - 1
            rows.append((str(bit), str(flag.value), f"``{flag.name}``", "yes" if is_event else "", MEANINGS[flag]))
        return make_table(self, rows)


class ImageArrays(Directive):
    """Lists the arrays of rates, calibrated images and mosaics."""

    def run(self):
        rows = [("array", "axes", "type, unit", "meaning")]
        for name, array in IMAGES.arrays.items():
            axes = " or ".join("[" + ", ".join(dims) + "]" for dims in array.dims)
            kind = f"{array.dtype}, {array.units}" if array.units else array.dtype
            rows.append((f"``{name}``", axes, kind, array.long_name))
        return make_table(self, rows)


class ReferenceFiles(Directive):
    """Lists the types of reference files and what they hold."""

    def run(self):
        rows = [("type", "content", "meaning")]
        for name, content in CONTENTS.items():
            parts = [f"``{array}`` [{', '.join(axes)}]" for array, axes in content.axes.items()]
            parts += [f"``{number}``" for number in content.numbers]
            parts += [f"``{number}`` ({value:g})" for number, value in content.defaults.items()]
            rows.append((f"``{name}``", ", ".join(parts), content.meaning))
        return make_table(self, rows)


def setup(app):
    app.add_directive("imager-flags", Flags)
    app.add_directive("imager-arrays", ImageArrays)
    app.add_directive("imager-references", ReferenceFiles)
    return {"parallel_read_safe": True}
