"""Which records a version has seen: a digest of each, so that a later champion match can leave them out.

A record of a table is its raw row: features change whenever the columns are fitted anew, the row does not. Days of
dates count and times do not, because a time is rounded as its distance from an origin that may move; at worst a record
is taken for seen that only resembles one.

Eight bytes recognise a record: among a million records and a million new ones, the chance that any two meet by accident
(which would drop one record from a match) is below 1e-7.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from components.data.columns import Column
from components.data.dealing import content_hashes
from components.data.rows import Rows, days_to, read_rows
from components.data.splits import PREPARED, SPLITS, Split, load_manifest, load_records

LISTING = "listing.npy"
FITTED = ("train", "validation", "calibration")
"""Splits that decided a number of the version; its selection and test records did not."""
_ENTRY = np.dtype([("digest", "<u8"), ("split", "u1")])
_KEY = "listing"  # never prepare.split_key: listings of all versions must compare


def list_records(prepared: Path = PREPARED) -> np.ndarray:
    """Digest and split (an index into SPLITS) of every record, sorted (record,)."""
    parts = []
    for index, split in enumerate(SPLITS):
        digests = digest_split(split, prepared)
        entries = np.empty(len(digests), _ENTRY)
        entries["digest"], entries["split"] = digests, index
        parts.append(entries)
    return np.sort(np.concatenate(parts))


def digest_split(split: Split, prepared: Path = PREPARED) -> np.ndarray:
    """A digest of each record of a split, in its order (record,) uint64."""
    columns = load_manifest(prepared).columns
    if not columns:
        return digest_records(load_records(split, prepared))
    parts = [digest_rows(rows, columns) for rows in read_rows(split, columns, prepared)]
    return np.concatenate([np.empty(0, np.uint64), *parts])


def digest_rows(rows: Rows, columns: Sequence[Column]) -> np.ndarray:
    """The same for raw rows, whatever the order of their columns."""
    cells = [_cells(rows[column.name], column.origin) for column in sorted(columns, key=lambda column: column.name)]
    return digest_records([np.frombuffer(b"".join(row), np.uint8) for row in zip(*cells, strict=True)])


def _cells(values: np.ndarray, origin: str | None) -> list[bytes]:
    if values.dtype == object:
        # with their length, so that no text can run into the next
        return [b"%d:%s" % (len(text), text) for text in map(str.encode, values)]
    absolute = values if origin is None else np.floor(values + days_to(origin))
    return [value.tobytes() for value in absolute]


def digest_records(records: Sequence[np.ndarray]) -> np.ndarray:
    """A digest of each raw record's bytes (record,) uint64."""
    return identify_records(records)[:, 0]


def identify_records(records: Sequence[np.ndarray]) -> np.ndarray:
    """The same twice as long (record, 2) uint64: what has it is the same record, however many there are."""
    return content_hashes(records, _KEY)


def was_fitted(listing: np.ndarray, digests: np.ndarray) -> np.ndarray:
    """Whether the version behind a listing was fitted to each of these records (record,) bool."""
    fitted = np.isin(listing["split"], [SPLITS.index(split) for split in FITTED])
    return np.isin(digests, listing["digest"][fitted])
