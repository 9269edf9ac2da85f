"""Records per second of vanilla 784-512-256-128-32 and conv on 28x28 images, against the loop that tutorials teach."""

from functools import partial

import numpy as np
import torch

from tests.benchmarks.loops import THREADS, mnist, network, ours, precisions, theirs
from tests.benchmarks.ratios import Ratio, interleaved

RECORDS, ROUNDS = 12_800, 5
VANILLA = {"latent_dim": 32, "hidden": [512, 256, 128]}
CLAIMS = (
    ("vanilla", VANILLA, 128, 3.2),
    ("vanilla", VANILLA, 512, 5.0),
    ("vanilla", VANILLA, 1024, 6.0),
    ("conv", {"latent_dim": 32}, 128, 1.5),
)
"""Model, its params, our batch size, and the ratio that is asked for."""


def measure() -> list[Ratio]:
    """Every claim in the precision that `auto` chooses on this machine, and in float32 where that is another."""
    torch.set_num_threads(THREADS)
    images = np.random.default_rng(0).integers(0, 256, (RECORDS, 28, 28), dtype=np.uint8)
    tensor = torch.from_numpy(images[:, None])
    chosen, *others = precisions()
    lines = []
    with mnist(images) as folder:
        for precision in (chosen, *others):
            label = f"{precision} (auto)" if precision == chosen else precision
            for model, params, batch_size, bound in CLAIMS:
                build = partial(network, model, **params)
                rounds = interleaved(
                    ROUNDS,
                    lambda build=build, batch=batch_size, precision=precision: ours(build(), tensor, batch, precision),
                    lambda build=build: theirs(build(), folder),
                )
                claim = f"{model}: records/s at batch {batch_size}, {label}, against the plain loop at 128 in float32"
                lines.append(Ratio(claim, rounds, bound))
    return lines
