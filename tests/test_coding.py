"""The cache of codes and the encoder it keeps: nothing is lost, torn or wrong, whoever writes beside it.

References: a dictionary in memory, the whole exported graph, the same records in other company.
"""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from conftest import ROOT
from fabricated import by_squared_error
from made_codes import codes_of, made

from components.coding import cache as caching
from components.coding.cache import Cache
from components.coding.encoder import Encoder, open_session
from components.data.item import Item
from components.data.scaling import Scale
from components.data.splits import Manifest, Scaling
from components.exporting.onnx_files import cut, export_onnx, save_onnx
from components.exporting.scorer import INPUT, OUTPUTS, Scorer
from components.models import Blueprint
from components.runtime.errors import UserError

ENOUGH = 1 << 30
SHAPE = (1, 12, 12)


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*/*.codes"))


def test_what_was_added_is_found_by_the_next_and_nothing_else(tmp_path: Path) -> None:
    known, codes = made(0, 500)
    unknown, _ = made(1, 300)
    half = known.copy()
    half[:, 1] ^= 1  # the same first half of the digest
    cache = Cache("key", tmp_path, ENOUGH)
    assert not cache.find(known)[0].any()
    cache.add(known[:400], codes[:400])
    cache.add(known[300:], codes[300:])
    asked = np.concatenate([unknown, known[::-1], half, known[:3]])
    here, found = Cache("key", tmp_path, ENOUGH).find(asked)
    np.testing.assert_array_equal(np.flatnonzero(here), [*range(300, 800), *range(1300, 1303)])
    np.testing.assert_array_equal(found, codes_of(asked[here]))
    assert not Cache("other", tmp_path, ENOUGH).find(known)[0].any()


def test_small_segments_are_brought_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(caching, "SMALL", 100)
    for seed in range(caching.MOST_SMALL + 3):
        Cache("key", tmp_path, ENOUGH).add(*made(seed, 20))
        assert len(files(tmp_path)) <= caching.MOST_SMALL + 1
    large = max(files(tmp_path), key=lambda path: path.stat().st_size)
    for seed in range(30, 30 + caching.MOST_SMALL):
        Cache("key", tmp_path, ENOUGH).add(*made(seed, 20))
    assert large.exists(), "what is large is not written again"
    for seed in (*range(caching.MOST_SMALL + 3), *range(30, 30 + caching.MOST_SMALL)):
        digests, codes = made(seed, 20)
        here, found = Cache("key", tmp_path, ENOUGH).find(digests)
        assert here.all() and np.array_equal(found, codes)


def test_beyond_the_limit_the_longest_unused_goes_first(tmp_path: Path) -> None:
    limit = 3 * 200 * 28 + 1000
    for number in range(3):
        Cache(f"model-{number}", tmp_path, limit).add(*made(number, 200))
    Cache("model-0", tmp_path, limit)  # used again
    Cache("model-3", tmp_path, limit).add(*made(3, 200))
    assert [path.parent.name for path in files(tmp_path)] == ["model-0", "model-2", "model-3"]
    assert sum(path.stat().st_size for path in files(tmp_path)) <= limit
    Cache("model-4", tmp_path, 100).add(*made(4, 200))
    assert not files(tmp_path)


WRITER = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from components.coding import cache
from made_codes import made
cache.SMALL = 200
for seed in range(int(sys.argv[3]), int(sys.argv[4])):
    mine = cache.Cache("key", Path(sys.argv[2]), 1 << 30)
    mine.add(*made(seed, 30))
    for other in range(seed - 4, seed):
        digests, codes = made(other, 30)
        here, found = mine.find(digests)
        assert not here.any() or (found == codes[here]).all()
"""


def test_processes_write_side_by_side_and_lose_nothing_to_a_kill(tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(ROOT / "tests"), str(tmp_path)]
    spans = [("10", "50"), ("40", "80"), ("10", "1000000")]
    writers = [subprocess.Popen([*command, *span], cwd=ROOT) for span in spans]
    ended = [writer.wait(240) for writer in writers[:2]]
    writers[2].kill()  # at whatever it was
    assert ended == [0, 0] and writers[2].wait() == -signal.SIGKILL
    cache = Cache("key", tmp_path, ENOUGH)
    for seed in range(10, 80):
        digests, codes = made(seed, 30)
        here, found = cache.find(digests)
        assert here.all() and np.array_equal(found, codes)


def scorer(model: str, path: Path) -> Path:
    """An exported scorer with random weights."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    manifest = Manifest("image", list(SHAPE), "uint8", [], [], {}, [0, 255], Scaling([0.0], [255.0]), {}, {}, {})
    network = Blueprint(model, {"latent_dim": 6}, None, None, Item(SHAPE, True), "bce").build()
    module = Scorer(Scale(manifest), by_squared_error(network), torch.linspace(0.05, 0.15, 99), 9)
    whole = export_onnx(module, torch.zeros((2, *SHAPE), dtype=torch.uint8), opset=20)
    save_onnx(cut(whole, [INPUT], OUTPUTS)["scorer.onnx"], path)
    return path


@pytest.mark.parametrize("model", ["vanilla", "batchnorm", "residual", "conv", "conv_pooling", "unet", "pca"])
def test_a_code_depends_on_its_record_alone_to_the_last_bit(model: str, tmp_path: Path) -> None:
    path = scorer(model, tmp_path / "scorer.onnx")
    images = np.random.default_rng(1).integers(0, 256, (600, *SHAPE), dtype=np.uint8)
    codes = Encoder(path, model, 1, None).encode({INPUT: images})
    (of_scorer,) = open_session(path, model, 1).run(["code"], {INPUT: images})
    np.testing.assert_array_equal(codes, of_scorer)
    encoder = Encoder(path, model, 1, tmp_path / "codes")
    generator = np.random.default_rng(2)
    for size in (1, 2, 3, 7, 31, 64, 255, 256, 599):
        rows = generator.integers(0, len(images), size)
        np.testing.assert_array_equal(encoder.encode({INPUT: images[rows]}), codes[rows])
    encoder.keep()
    warm = Encoder(path, model, 1, tmp_path / "codes")
    np.testing.assert_array_equal(warm.encode({INPUT: images}), codes)
    assert sum(len(digests) for digests, _ in warm._new) < 100, "the cache was of no use"


DYNAMIC = """<ir_version: 10, opset_import: ["" : 20]>
scorer (float[batch, 4] input) => (float[batch, 4] reconstruction) {
  small, scale, zero = DynamicQuantizeLinear (input)
  code = DequantizeLinear (small, scale, zero)
  reconstruction = Identity (code)
}"""


def test_codes_that_depend_on_their_batch_are_not_kept(tmp_path: Path) -> None:
    path = tmp_path / "scorer.onnx"
    onnx.save(onnx.parser.parse_model(DYNAMIC), path)
    encoder = Encoder(path, "small/1", 1, tmp_path / "codes")
    values = np.random.default_rng(0).normal(size=(9, 4)).astype(np.float32)
    assert (encoder.encode({INPUT: values})[:1] != encoder.encode({INPUT: values[:1]})).any()
    encoder.keep()
    assert not files(tmp_path / "codes")


def test_a_graph_without_a_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scorer.onnx"
    onnx.save(onnx.parser.parse_model(DYNAMIC.replace("code", "other")), path)
    with pytest.raises(UserError, match="--model: the graph of small/1 has no code inside; name a version"):
        Encoder(path, "small/1", 1, None)
