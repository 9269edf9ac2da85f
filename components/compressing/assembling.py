"""From what a method made to a file that may serve: its own threshold, the proof, the judgement, the card."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from onnxruntime import InferenceSession

from components.compressing import MethodEntry, MethodParams, Original
from components.compressing.judging import Answers, answer, faults, judge, measuring
from components.compressing.recalibrating import recalibrate, set_calibration
from components.exporting import parity
from components.exporting.card import Subject, proof, write_card
from components.exporting.intakes import make_intake
from components.exporting.onnx_files import SCORER, open_session, save_onnx
from components.scoring.conformal import Calibration


class Workshop:
    """Where the scorers of one variant are made.

    Args:
        original: what there is to compress.
        threads: of onnxruntime; sums depend on it.
        folder: of the variant; each method gets one inside.
    """

    def __init__(self, original: Original, threads: int, folder: Path) -> None:
        self.original, self.threads, self.folder = original, threads, folder
        self.exported = answer(self._open(measuring(original.graph)), original)

    def make(self, name: str, entry: MethodEntry, params: MethodParams) -> dict[str, Any]:
        """Write the files of METHOD/; returns the method's entry of compression.json.

        Raises:
            UserError: the method does not suit, or training diverges.
            ParityError: the file disagrees with the network or with its own threshold.
        """
        compressed = entry.compress(self.original, params)
        calibration = recalibrate(self._open(compressed.graph.SerializeToString()), self.original)
        set_calibration(compressed.graph, calibration)
        path = self.folder / name / SCORER
        path.parent.mkdir()
        save_onnx(compressed.graph, path)
        calibration.save(path.parent)
        ours = answer(self._open(measuring(compressed.graph)), self.original)
        _require_own_decisions(ours, calibration)
        judged = judge(path.read_bytes(), compressed.parameters, ours, self.exported, calibration, self.original)
        row = {
            **dataclasses.asdict(judged),
            "size_ratio": judged.bytes / len(self.original.graph.SerializeToString(deterministic=True)),
            "parameters_ratio": judged.parameters / self.original.parameters,
            "faults": faults(judged, params),
        }
        detector = compressed.detector or self.original.detector
        intake = make_intake(self.original.manifest, self.original.prepared, detector, calibration)
        shown = _decisions_proof(len(ours.scores))
        if compressed.detector:
            runners, chunks = {"scorer": parity.onnx_runner(path, self.threads)}, intake.chunks(parity.CHUNK)
            shown = proof(parity.prove(parity.torch_runner(intake.scorer), runners, None, chunks, calibration))
        subject = Subject(
            variant=f"{self.original.variant}, {name}",
            config=self.original.config,
            manifest=self.original.manifest,
            intake=intake,
            calibration=calibration,
            metrics={key: value for key, value in row.items() if isinstance(value, float)},
            files={SCORER: row},
            proof=shown,
            made_by=f"compress@{self.original.variant}",
            compression=_cost(entry, row),
        )
        write_card(path.with_name("card.md"), subject)
        return row

    def _open(self, graph: bytes) -> InferenceSession:
        return open_session(graph, self.threads)


def _require_own_decisions(found: Answers, calibration: Calibration) -> None:
    # the count in numpy is another implementation than the search in the graph
    if (found.alarms != calibration.alarms(found.scores)).any():
        raise parity.ParityError("a compressed scorer decides by other scores than it was calibrated with")


def _decisions_proof(records: int) -> str:
    return (
        f"Its decisions on all {records} test records are those of its own scores and calibration, counted "
        "independently; how its scores differ from the network's stands under Compression."
    )


def _cost(entry: MethodEntry, row: Mapping[str, Any]) -> str:
    lost = "" if row["auroc_loss"] is None else f"AUROC {-row['auroc_loss']:+.4f}, "
    limits = "; ".join(row["faults"]) or "every limit of its params holds"
    return (
        f"A scorer with {entry.description}: {row['size_ratio']:.2f} of the exported file's size and "
        f"{row['parameters_ratio']:.2f} of its parameters. Against the exported scorer on test: {lost}rank correlation "
        f"of scores {row['rank_correlation']:.5f}, {row['flips']} other decisions. Limits: {limits}.\n\n"
        "The threshold was fitted again, to this file's own scores of the calibration records."
    )
