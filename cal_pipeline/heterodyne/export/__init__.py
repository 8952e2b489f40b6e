"""Export of L1 stores to SDFITS, CLASS's FITS and CSV."""

from cal_pipeline.heterodyne.export.formats import FORMATS
from cal_pipeline.heterodyne.export.session import Exported, export_session

__all__ = ["FORMATS", "Exported", "export_session"]
