"""Stage `prepare`: raw data to validated splits that every variant shares.

In:   artifacts/ingest/
Out:  artifacts/prepare/ — {train,validation,calibration,selection,test}.npy, their _labels.npy, manifest.json,
      validation.json (what the checks of the data found), examples.svg; of a table also preprocess.onnx and the
      splits' raw columns as .parquet
Run:  python -m components.prepare
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from components import sources
from components.data.dealing import DROPPED, Dealt, deal
from components.data.splits import SPLITS, Manifest
from components.params import load_section, unknown
from components.params.prepare import Params
from components.preparing.arrays import ArrayContent
from components.preparing.checks import Facts, Finding, numbered, validate
from components.preparing.content import Content, Observed
from components.preparing.examples import draw_examples
from components.preparing.previous import load_previous, raw_identity
from components.preparing.tables import TableContent
from components.reporting.plots import save
from components.runtime.errors import UserError, run_main
from components.runtime.outputs import ARTIFACTS, WORK, complete_dir, read_json, sha256, write_json
from components.runtime.process import die_with_parent


def prepare(params: Params, raw_dir: Path = ARTIFACTS / "ingest", out: Path = ARTIFACTS / "prepare") -> Manifest:
    """Validate raw data, deal it to splits and write them with their manifest.

    Raises:
        UserError: damaged or empty data, values that are not finite or out of range, a class that does not exist,
            a split that would be empty, or data with a fault that `prepare.checks` calls an error.
    """
    listing = read_json(raw_dir / "listing.json", "ingest")
    with _scratch() as scratch, complete_dir(out) as folder:
        content = _read(listing, raw_dir, scratch, params)
        normal = _normal_classes(params, content)
        labels = content.labels
        anomalous = np.isin(labels, [index for index, name in enumerate(content.classes) if name not in normal])
        own_test = content.own_test & (not params.pool)
        fractions = params.fractions.model_dump()
        hashes = content.hashes(params.split_key)
        dealt = deal(hashes, anomalous, own_test, fractions)
        _check_filled(dealt, anomalous, fractions)

        rows = {split: np.flatnonzero(dealt.split == number) for number, split in enumerate(SPLITS)}
        layout = content.write(folder, rows)
        for split, of_split in rows.items():
            np.save(folder / f"{split}_labels.npy", labels[of_split])
        manifest = Manifest(
            kind=content.kind,
            classes=list(content.classes),
            normal_classes=normal,
            counts={split: _count(labels[of_split], content.classes) for split, of_split in rows.items()},
            digests={path.name: sha256(path) for path in sorted(folder.iterdir())},
            source={"name": listing["source"], "version": listing["version"]},
            dropped=dealt.dropped,
            raw=raw_identity(listing),
            **vars(layout),
        )
        write_json(folder / "manifest.json", manifest.to_json())
        observed = content.observed()
        contents = hashes if observed.contents is None else observed.contents
        facts = Facts(manifest, observed, load_previous(raw_dir), numbered(contents), dealt.split, params.limits)
        write_json(folder / "validation.json", _validation(validate(facts, params.checks), observed))
        save(draw_examples(manifest, folder), folder / "examples.svg")
    return manifest


def _read(listing: dict[str, Any], raw_dir: Path, scratch: Path, params: Params) -> Content:
    given = listing["options"]
    size = given["image_size"]
    options = sources.Options(**{**given, "image_size": tuple(size) if size else None})
    raw = sources.find(listing["source"]).read(raw_dir, options, scratch)
    if isinstance(raw, sources.RawTable):
        return TableContent(raw, params)
    for name in params.of_tables:
        what = f"is for tables, and source '{listing['source']}' holds {raw.kind}s"
        raise UserError(f"prepare.{name}", what, "remove it from params.yaml")
    return ArrayContent(raw)


@contextmanager
def _scratch() -> Iterator[Path]:
    """A folder for what a source must unpack; gone in the end."""
    (WORK / "tmp").mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="prepare-raw-", dir=WORK / "tmp") as folder:
        yield Path(folder)


def _normal_classes(params: Params, content: Content) -> list[str]:
    if params.normal_classes is None:
        return list(content.source_normal or content.classes)
    wanted = [str(name) for name in params.normal_classes]
    if not content.classes:
        fix = "set it to null, or name prepare.label" if content.kind == "table" else "set it to null"
        raise UserError("prepare.normal_classes", "is set and the data has no labels", fix)
    for name in wanted:
        if name not in content.classes:
            raise unknown("prepare.normal_classes", "class", name, content.classes)
    return [name for name in content.classes if name in wanted]


def _check_filled(dealt: Dealt, anomalous: np.ndarray, fractions: dict[str, float]) -> None:
    for number, split in enumerate(SPLITS):
        here = (dealt.split == number) & ~anomalous
        if not here.any() and (fractions[split] > 0 or split == "test"):
            raise UserError(
                f"prepare.fractions.{split}",
                f"no normal record falls into {split} ({int((dealt.split != DROPPED).sum())} records in all)",
                "give it a larger share, or add records",
            )


def _count(labels: np.ndarray, classes: tuple[str, ...]) -> dict[str, int]:
    if not classes:
        return {"unlabelled": len(labels)}
    return {name: int(count) for name, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True)}


def _validation(findings: list[Finding], observed: Observed) -> dict[str, Any]:
    return {
        "findings": [vars(finding) for finding in findings],
        "files": observed.files,
        "rejected": dict(observed.rejected),
        "missing": dict(observed.missing or {}),
    }


def main() -> None:
    """Run the stage."""
    die_with_parent()
    manifest = prepare(load_section("prepare"))
    sizes = ", ".join(f"{split} {manifest.size(split)}" for split in SPLITS)
    print(f"{manifest.kind}s {'x'.join(map(str, manifest.item_shape))}: {sizes}; dropped {manifest.dropped or 'none'}")
    for finding in read_json(ARTIFACTS / "prepare" / "validation.json", "prepare")["findings"]:
        if finding["verdict"] == "warning":
            print(f"warning: {finding['code']}: {finding['title']} ({finding['found']}); {finding['remedy']}")
    for name, reason in manifest.dropped_columns.items():
        print(f"column '{name}' is not used: {reason}")


if __name__ == "__main__":
    run_main(main)
