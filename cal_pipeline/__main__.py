"""``python -m cal_pipeline``, another name of the command ``calibrate``."""

import sys

from cal_pipeline.cli.calibrate import main

sys.exit(main())
