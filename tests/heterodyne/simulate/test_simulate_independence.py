import ast
from pathlib import Path

import cal_pipeline.heterodyne.simulate

# The frame of the commands parses options and prints; it computes nothing.
ALLOWED = (
    "cal_pipeline.heterodyne.simulate",
    "cal_pipeline.heterodyne.physics.constants",
    "cal_pipeline.core.errors",
    "cal_pipeline.cli.commands",
)


def test_the_simulator_shares_nothing_with_the_calibration_but_the_constants():
    imported = set()
    for path in Path(cal_pipeline.heterodyne.simulate.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                # Of a relative import two levels up the package is the root.
                imported.add(f"cal_pipeline.{node.module}" if node.level == 2 else node.module)
            elif isinstance(node, ast.Import):
                imported |= {name.name for name in node.names}
    ours = {name for name in imported if name.split(".")[0] == "cal_pipeline"}
    assert ours
    assert not {name for name in ours if not name.startswith(ALLOWED)}
