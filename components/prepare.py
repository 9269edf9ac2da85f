"""Stage `prepare`: raw data to validated splits that every variant shares.

In:   artifacts/ingest/
Out:  artifacts/prepare/ — {train,validation,calibration,selection,test}.npy, their _labels.npy, manifest.json
Run:  python -m components.prepare
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components import sources
from components.data.dealing import DROPPED, Dealt, content_hashes, deal
from components.data.splits import SPLITS, Manifest, Scaling
from components.params import load_section, unknown
from components.params.prepare import Params
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import ARTIFACTS, complete_dir, read_json, write_json
from components.runtime.process import die_with_parent

BLOCK = 4096
"""Records held in memory at a time."""


def prepare(params: Params, raw_dir: Path = ARTIFACTS / "ingest", out: Path = ARTIFACTS / "prepare") -> Manifest:
    """Validate raw data, deal it to splits and write them with their manifest.

    Raises:
        UserError: damaged or empty data, values that are not finite or out of range, a class that does not exist,
            or a split that would be empty.
    """
    listing = read_json(raw_dir / "listing.json", "ingest")
    raw = sources.find(listing["source"]).read(raw_dir)
    records = _Concatenated([part.records for part in raw.parts])
    _check_values(records, raw)
    normal = _normal_classes(params, raw)
    labels = _labels(raw)
    anomalous = np.isin(labels, [index for index, name in enumerate(raw.classes) if name not in normal])
    own_test = np.concatenate([np.full(len(p.records), p.split == "test" and not params.pool) for p in raw.parts])
    hashes = np.concatenate([content_hashes(part.records, params.split_key) for part in raw.parts])
    fractions = params.fractions.model_dump()
    dealt = deal(hashes, anomalous, own_test, fractions)
    _check_filled(dealt, anomalous, fractions)

    with complete_dir(out) as folder:
        for number, split in enumerate(SPLITS):
            rows = np.flatnonzero(dealt.split == number)
            _write_rows(folder / f"{split}.npy", records, rows)
            np.save(folder / f"{split}_labels.npy", labels[rows])
        scaling, value_range = _scaling(raw, np.load(folder / "train.npy", mmap_mode="r"))
        manifest = Manifest(
            kind=raw.kind,
            item_shape=list(records.item_shape),
            dtype="uint8" if raw.kind == "image" else "float32",
            classes=list(raw.classes),
            normal_classes=normal,
            counts={split: _count(labels[dealt.split == i], raw.classes) for i, split in enumerate(SPLITS)},
            value_range=value_range,
            scaling=scaling,
            digests={path.name: _sha256(path) for path in sorted(folder.glob("*.npy"))},
            source={"name": listing["source"], "version": listing["version"]},
            dropped=dealt.dropped,
        )
        write_json(folder / "manifest.json", manifest.to_json())
    return manifest


class _Concatenated:
    """The records of all parts as one sequence, read block by block from wherever they lie."""

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts = parts
        self.starts = np.cumsum([0, *(len(part) for part in parts)])
        shapes = {part.shape[1:] for part in parts}
        if len(shapes) > 1:
            raise UserError("artifacts/ingest", f"its parts hold records of shapes {shapes}", "use one shape")
        self.item_shape = shapes.pop()
        self.dtype = parts[0].dtype

    def take(self, rows: np.ndarray) -> np.ndarray:
        """Records of the given ascending rows (record, *item)."""
        bounds = np.searchsorted(rows, self.starts)
        pieces = [
            part[rows[low:high] - start]
            for part, start, low, high in zip(self.parts, self.starts, bounds, bounds[1:], strict=False)
        ]
        return np.concatenate(pieces)

    def blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, records) for consecutive blocks."""
        for start, part in zip(self.starts, self.parts, strict=False):
            for low in range(0, len(part), BLOCK):
                yield int(start) + low, part[low : low + BLOCK]


def _check_values(records: _Concatenated, raw: sources.RawData) -> None:
    if 0 in records.item_shape:
        raise UserError("artifacts/ingest", f"records of shape {records.item_shape} hold nothing", "check the source")
    for start, block in records.blocks():
        if raw.value_range is None:
            wrong = ~np.isfinite(block).reshape(len(block), -1).all(1)
            rule = "holds NaN or infinity"
        else:
            low, high = raw.value_range
            flat = block.reshape(len(block), -1)
            wrong = (flat.min(1) < low) | (flat.max(1) > high)
            rule = f"leaves the declared range {low:g}..{high:g}"
        if wrong.any():
            raise UserError("artifacts/ingest", f"record {start + int(wrong.argmax())} {rule}", "mend or remove it")


def _normal_classes(params: Params, raw: sources.RawData) -> list[str]:
    if params.normal_classes is None:
        return list(raw.normal_classes or raw.classes)
    wanted = [str(name) for name in params.normal_classes]
    if not raw.classes:
        raise UserError("prepare.normal_classes", "is set and the data has no labels", "set it to null")
    for name in wanted:
        if name not in raw.classes:
            raise unknown("prepare.normal_classes", "class", name, raw.classes)
    return [name for name in raw.classes if name in wanted]


def _labels(raw: sources.RawData) -> np.ndarray:
    none = -1
    labels = [np.full(len(p.records), none, np.int64) if p.labels is None else p.labels for p in raw.parts]
    return np.concatenate(labels).astype(np.int64)


def _check_filled(dealt: Dealt, anomalous: np.ndarray, fractions: dict[str, float]) -> None:
    for number, split in enumerate(SPLITS):
        here = (dealt.split == number) & ~anomalous
        if not here.any() and (fractions[split] > 0 or split == "test"):
            raise UserError(
                f"prepare.fractions.{split}",
                f"no normal record falls into {split} ({int((dealt.split != DROPPED).sum())} records in all)",
                "give it a larger share, or add records",
            )


def _write_rows(path: Path, records: _Concatenated, rows: np.ndarray) -> None:
    """Write a .npy file block by block; through a file and not a mapping, which a full disk would end by a signal."""
    head = {"descr": np.lib.format.dtype_to_descr(records.dtype), "fortran_order": False}
    with path.open("wb") as stream:
        np.lib.format.write_array_header_1_0(stream, head | {"shape": (len(rows), *records.item_shape)})
        for low in range(0, len(rows), BLOCK):
            stream.write(np.ascontiguousarray(records.take(rows[low : low + BLOCK])).data)


def _scaling(raw: sources.RawData, train: np.ndarray) -> tuple[Scaling, list[float]]:
    if raw.value_range is not None:
        low, high = raw.value_range
        return Scaling([low], [high - low]), [low, high]
    mean = train.mean(0, dtype=np.float64)
    deviation = train.std(0, dtype=np.float64)
    deviation[deviation == 0] = 1.0  # a constant column carries no information and must not divide by zero
    return Scaling(mean.tolist(), deviation.tolist()), [float(train.min()), float(train.max())]


def _count(labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, int]:
    if not classes:
        return {"unlabelled": len(labels)}
    return {name: int(count) for name, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True)}


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def main() -> None:
    """Run the stage."""
    die_with_parent()
    manifest = prepare(load_section("prepare"))
    sizes = ", ".join(f"{split} {manifest.size(split)}" for split in SPLITS)
    print(f"{manifest.kind}s {'x'.join(map(str, manifest.item_shape))}: {sizes}; dropped {manifest.dropped or 'none'}")


if __name__ == "__main__":
    run_main(main)
