"""Which split a record belongs to: decided by a keyed hash of its content, so appended data moves no old record.

Equal records share a hash, so duplicates never straddle two splits; `seed` has no say.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from components.data.splits import SPLITS

DROPPED = -1
"""Split number of a record that is left out."""


def content_hashes(records: Sequence[np.ndarray], key: str) -> np.ndarray:
    """A 16-byte keyed hash per record: (record, 2) uint64, independent of order and of all other records."""
    secret = hashlib.blake2b(key.encode(), digest_size=32).digest()
    digests = [hashlib.blake2b(record, digest_size=16, key=secret).digest() for record in _bytes_of(records)]
    return np.array(digests, "V16").view("<u8").reshape(-1, 2).astype(np.uint64)


def _bytes_of(records: Sequence[np.ndarray]) -> Iterator[memoryview]:
    """The bytes of each record; those of one block in memory are cut out of it, which saves a third of the time."""
    if isinstance(records, np.ndarray) and records.flags.c_contiguous and records.size:
        block = records.reshape(-1).view(np.uint8).data
        width = len(block) // len(records)
        yield from (block[start : start + width] for start in range(0, len(block), width))
    else:
        yield from (np.ascontiguousarray(record).data for record in records)


@dataclass(frozen=True)
class Dealt:
    """The split number (index into SPLITS, or DROPPED) of each record, and why records were dropped."""

    split: np.ndarray
    dropped: dict[str, int]


def deal(hashes: np.ndarray, anomalous: np.ndarray, own_test: np.ndarray, fractions: Mapping[str, float]) -> Dealt:
    """Deal records to splits.

    Args:
        hashes: (record, 2) from `content_hashes`.
        anomalous: (record,) whether its class is not normal.
        own_test: (record,) whether the source itself calls it test; such a record stays test, and the others are
            dealt among the remaining splits.
        fractions: share of each split among normal records.
    """
    contents = hashes.view([("high", "u8"), ("low", "u8")]).reshape(-1)
    names, content = np.unique(contents, return_inverse=True)
    # a content that occurs as normal and as anomalous is dealt as anomalous, wherever its copies stand
    strange = np.zeros(len(names), bool)
    strange[content[anomalous]] = True
    in_test = np.zeros(len(names), bool)
    in_test[content[own_test]] = True
    test_is_given = bool(own_test.any())

    shares = np.array([0.0 if name == "test" and test_is_given else fractions[name] for name in SPLITS])
    split = _pick(hashes[:, 0], shares)
    to_judge = shares * [name in ("selection", "test") for name in SPLITS]
    strange_here = strange[content]
    if to_judge.any():
        split[strange_here] = _pick(hashes[strange_here, 0], to_judge)
    else:
        split[strange_here] = DROPPED
    dropped = {"anomalous, and no split may hold it": int((strange_here & ~own_test & (split == DROPPED)).sum())}
    repeated = in_test[content] & ~own_test
    split[repeated] = DROPPED
    dropped["also in the source's test split"] = int(repeated.sum())
    split[own_test] = SPLITS.index("test")
    return Dealt(split, {reason: count for reason, count in dropped.items() if count})


def _pick(draws: np.ndarray, shares: np.ndarray) -> np.ndarray:
    # the hash as a number in [0, 1), looked up among the cumulated shares
    edges = np.cumsum(shares / shares.sum())[:-1]
    return np.searchsorted(edges, draws / 2.0**64, side="right").astype(np.int8)
