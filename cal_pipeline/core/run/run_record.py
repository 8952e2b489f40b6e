"""Record of a run in its product: what was asked for, what is done, and whether it has ended."""

from __future__ import annotations

import json
import logging
import time
from datetime import UTC, datetime
from typing import Any

from stpipe.exceptions import StpipeExitException

from cal_pipeline.core.errors import CalibrationError
from cal_pipeline.core.store.output import OutputStore
from cal_pipeline.core.store.product import FINISHED, INTERRUPTED, RUN_RECORD, RUNNING

logger = logging.getLogger(__name__)

NOT_RECORDED = 3
"""Exit status of a run whose observations are done, but whose records could not be written."""

_INTERVAL = 1.0
"""Least time between two writings of the record [s]."""

_SHARE = 20.0
"""Least time between two writings of a ledger, which may be large, in times that the last one took."""


class RunRecordError(CalibrationError, StpipeExitException):  # type: ignore[misc]
    """Observations are done, but what describes the run could not be written.

    Attributes
    ----------
    product : Product
        The product.
    exit_status : int
        3.
    """

    def __init__(self, message: str, product: Any) -> None:
        super().__init__(NOT_RECORDED, message)
        self.exit_status = NOT_RECORDED
        self.message = message
        self.product = product

    def __str__(self) -> str:
        return self.message


class RunRecord:
    """Record ``run.json`` of a run, or its ledger, which is rewritten while the run lasts.

    What cannot be written is tried again with the next observation, and at the end. A ledger is written
    anew when observations are done; failures alone wait for the end.

    Parameters
    ----------
    output : OutputStore
        The product.
    n_asked : int
        Number of observations to calibrate.
    parameters_sha256 : str
        Digest of the parameters.

    Attributes
    ----------
    unsaved : Exception or None
        Error of the last attempt to write the record; None if it was written.
    """

    def __init__(self, output: OutputStore, n_asked: int, parameters_sha256: str) -> None:
        holder, self._output = output.holder, output
        self._counts = {"asked": n_asked, "done": 0, "failed": 0}
        self._content: dict[str, Any] = {
            "state": RUNNING,
            "host": holder.host,
            "pid": holder.pid,
            "started": holder.started,
            "ended": None,
            output.kind.plural: self._counts,
            "parameters_sha256": parameters_sha256,
        }
        self._written = 0.0
        self._n_recorded = 0
        self._interval = _INTERVAL
        self.unsaved: Exception | None = None

    def begin(self) -> None:
        """Make the store visible, with the record in it."""
        self._write(first=True)

    def ask(self, n_asked: int, parameters_sha256: str) -> None:
        """Set the number of observations asked for, and the parameters, of a run that is told of them one by one.

        Parameters
        ----------
        n_asked : int
            Number of observations to calibrate.
        parameters_sha256 : str
            Digest of the parameters.
        """
        self._counts["asked"] = n_asked
        self._content["parameters_sha256"] = parameters_sha256

    def update(self, n_done: int, n_failed: int) -> None:
        """Record the numbers of observations; the record is written at most once a second.

        Parameters
        ----------
        n_done : int
            Number of observations in the product.
        n_failed : int
            Number of observations that failed.
        """
        self._counts |= {"done": n_done, "failed": n_failed}
        is_news = n_done != self._n_recorded or not self._output.kind.ledger
        if is_news and time.monotonic() - self._written >= self._interval:
            self._write()

    def end(self, is_finished: bool) -> None:
        """Record the end of the run.

        Parameters
        ----------
        is_finished : bool
            Whether all observations were tried; else the run was interrupted.
        """
        ended = datetime.now(UTC).isoformat(timespec="seconds")
        self._content |= {"state": FINISHED if is_finished else INTERRUPTED, "ended": ended}
        self._write()

    def _write(self, first: bool = False) -> None:
        """Write the record, and ``failures.json`` where that has failed before."""
        began = time.monotonic()
        if self._output.unsaved is not None or (self._output.kind.ledger and not first):
            self._output.save_failures()
        content = (json.dumps(self._content, indent=2) + "\n").encode()
        error = self._output.begin(content) if first else self._output.try_record_run(content)
        if error is not None and self.unsaved is None:
            name = self._output.kind.ledger or RUN_RECORD
            logger.warning("%s/%s cannot be written, and is tried again: %s", self._output.product, name, error)
        self.unsaved = error
        self._written, self._n_recorded = time.monotonic(), self._counts["done"]
        if self._output.kind.ledger:
            self._interval = max(_INTERVAL, _SHARE * (self._written - began))
