"""Ingest of a telescope's FITS files: from files and a declared profile to an L0 session."""

from cal_pipeline.heterodyne.ingest.overview import IngestOverview
from cal_pipeline.heterodyne.ingest.run import Ingested, ingest, preview_ingest

__all__ = ["IngestOverview", "Ingested", "ingest", "preview_ingest"]
