"""Products that are a single file: written in staging, published by renaming."""

from __future__ import annotations

from collections.abc import Collection

from cal_pipeline.core.errors import OutputExistsError, StoreError
from cal_pipeline.core.files.asdf_file import is_asdf
from cal_pipeline.core.store.local_output import LocalOutput
from cal_pipeline.core.store.local_path import sync_file
from cal_pipeline.core.store.staging import take_up_leftovers

RESULT = "result.asdf"
"""Name of the file in the staging folder of its observation."""


class FileOutput(LocalOutput):
    """A product that is an ASDF file; see :class:`.LocalOutput` for the parameters.

    An observation writes it as :data:`RESULT` to its staging path, a local folder. There is no record of the run
    beside it: it is there as a whole, or as it was.
    """

    keeps_records = False

    def _prepare(self, overwrite: bool, resume: bool) -> None:
        """Judge what is in the way."""
        take_up_leftovers(self.path, self.kind.key_of)
        if not self.path.exists():
            return
        if not self.path.is_file() or not is_asdf(self.path):
            raise StoreError(
                f"output {self.path} exists and is no ASDF file, so it is never replaced; name another output"
            )
        if not overwrite:
            raise OutputExistsError(f"output {self.path} exists; give overwrite=True to replace it")

    def begin(self, record: bytes) -> None:
        """Do nothing: the file appears when it is finished."""

    def publish(self, name: str, changed: bool = False) -> None:
        """Rename the file to its place."""
        self.lock.ensure_held(again=True)
        (self.staging.unpublished / name / RESULT).replace(self.path)
        sync_file(self.path.parent)

    def published(self) -> list[str]:
        """List nothing: what is published is no longer in staging."""
        return []

    def put_record(self, key: str, content: bytes) -> None:
        """Do nothing: a file has no record beside it."""

    def keep_only(self, names: Collection[str]) -> None:
        """Do nothing: there is nothing else."""

    def finish(self, done: Collection[str]) -> None:
        """Do nothing: the file is in its place."""

    def discard(self) -> None:
        """Do nothing: without a result nothing was written."""
