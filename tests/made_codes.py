"""For tests of the cache of codes: records whose codes follow from their digests, so that every process knows them."""

import numpy as np


def made(seed: int, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Digests (record, 2), and their codes (record, 3)."""
    digests = np.random.default_rng(seed).integers(0, 1 << 63, (count, 2), dtype=np.uint64)
    return digests, codes_of(digests)


def codes_of(digests: np.ndarray) -> np.ndarray:
    """Codes (record, 3) float32 of digests (record, 2)."""
    return np.stack([digests[:, 0] % 97, digests[:, 1] % 89, digests.sum(1) % 83], 1).astype(np.float32)
