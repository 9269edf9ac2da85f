"""Which records a version has seen: a digest of each, so that a later champion match can leave them out.

Eight bytes recognise a record: among a million records and a million new ones, the chance that any two meet by accident
(which would drop one record from a match) is below 1e-7.
"""

from pathlib import Path

import numpy as np

from components.data.dealing import content_hashes
from components.data.splits import PREPARED, SPLITS, load_records

LISTING = "listing.npy"
FITTED = ("train", "validation", "calibration")
"""Splits that decided a number of the version; its selection and test records did not."""
_ENTRY = np.dtype([("digest", "<u8"), ("split", "u1")])
_KEY = "listing"  # never prepare.split_key: listings of all versions must compare


def list_records(prepared: Path = PREPARED) -> np.ndarray:
    """Digest and split (an index into SPLITS) of every record, sorted (record,)."""
    splits = [load_records(split, prepared) for split in SPLITS]
    entries = np.empty(sum(map(len, splits)), _ENTRY)
    start = 0
    for index, records in enumerate(splits):
        part = entries[start : start + len(records)]
        part["digest"], part["split"] = digest_records(records), index
        start += len(records)
    entries.sort()
    return entries


def digest_records(records: np.ndarray) -> np.ndarray:
    """A digest of each raw record's bytes (record,) uint64."""
    return content_hashes(records, _KEY)[:, 0]


def was_fitted(listing: np.ndarray, digests: np.ndarray) -> np.ndarray:
    """Whether the version behind a listing was fitted to each of these records (record,) bool."""
    fitted = np.isin(listing["split"], [SPLITS.index(split) for split in FITTED])
    return np.isin(digests, listing["digest"][fitted])
