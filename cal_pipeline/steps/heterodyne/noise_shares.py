"""Arrays of L1 that tell the noise of a dump from that of its reference."""

from __future__ import annotations

import numpy as np

from cal_pipeline.heterodyne.physics.shared_noise import couple_shares, mean_number, share_of_reference
from cal_pipeline.heterodyne.scan import Band
from cal_pipeline.heterodyne.schema import Described, L1Arrays


def origin_of_noise(band: Band) -> L1Arrays:
    """Tell which part of the noise of each spectrum comes from which OFF.

    Parameters
    ----------
    band : Band
        A calibrated band; beams that were merged have the OFFs of both.

    Returns
    -------
    dict
        ``ref_share`` and ``ref_off`` of L1, with the attribute ``reference`` of the first: ``dump``
        where the reference of a dump is a dump of an OFF, ``mean`` where it is made of mean OFFs.
    """
    pairing, at, calibration = band.require_pairing(), band.coordinates, band.require_calibration()
    exptime = at.exptime[pairing.off].astype(np.float64)
    number = np.ones(pairing.off_dumps.shape[1:]) if pairing.per_dump else mean_number(pairing.off_dumps)
    noise = share_of_reference(1.0 / (number * exptime), pairing.weights, at.exptime[pairing.on])
    if band.coupling is not None:
        noise = couple_shares(noise, calibration.sigma, band.coupling.first, band.coupling.second)
    # The order of time does not depend on the order in which the store keeps the subscans.
    place = np.empty(at.mjd.size, np.int64)
    place[np.argsort(at.mjd, kind="stable")] = np.arange(at.mjd.size)
    # The index -1 meets the appended -1.
    subscan = np.append(place[pairing.off], -1)[noise.off]
    reference = "dump" if pairing.per_dump else "mean"
    return {"ref_share": Described(noise.share, {"reference": reference}), "ref_off": subscan}
