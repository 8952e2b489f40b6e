"""Zarr stores in folders of which a part that has gone is not taken for one that was never written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from zarr.storage import LocalStore

from cal_pipeline.core.errors import StoreError

if TYPE_CHECKING:
    from zarr.abc.buffer import Buffer, BufferPrototype
    from zarr.abc.store import ByteRequest

_CHUNK = re.compile(r"(?P<array>.+)/c([./][0-9]+)*")
"""Keys of chunks."""


class PresentStore(LocalStore):
    """Store in a folder that tells a removed array from one whose chunks hold the fill value.

    Zarr leaves out chunks that hold nothing but the fill value, and so reads an array as such when its
    folder has been removed after it was opened.

    Parameters
    ----------
    root : Path or str
        The folder.
    read_only : bool
        Whether writing is refused.
    """

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """Read a key; None if it is absent.

        Raises
        ------
        StoreError
            If it is a chunk of an array that is not there any more.
        """
        found = await super().get(key, prototype, byte_range)
        if (
            found is None
            and (chunk := _CHUNK.fullmatch(key))
            and not (self.root / chunk["array"] / "zarr.json").exists()
        ):
            where = f"{self.root}: array {chunk['array']}"
            raise StoreError(f"{where} has gone since it was opened; open the store again where it is now")
        return found
