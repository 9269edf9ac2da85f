"""What a model must hold to be promoted: each gate gives a verdict, the number, the limit and a sentence."""

import dataclasses
from dataclasses import dataclass
from typing import Any, Literal

from components.comparing.candidates import Candidate
from components.comparing.wording import interval, number, percent, promised, ratio, signed
from components.params.compare import Gates
from components.params.export import FLOAT32
from components.runtime.errors import UserError

SIGNIFICANT = 0.05
"""One-sided level of the binomial test of realised false alarms against alpha."""

Verdict = Literal["pass", "warning", "fail", "not_applicable"]


@dataclass(frozen=True)
class Gate:
    """One verdict; `limit` is what `value` is held against."""

    verdict: Verdict
    value: float
    limit: float
    text: str

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return dataclasses.asdict(self)


def judge(candidate: Candidate, params: Gates, publish: str = FLOAT32) -> dict[str, Gate]:
    """Every gate of one candidate, of which `publish` is to be registered.

    Raises:
        UserError: a gate that params.yaml asks for cannot be measured on this data, or what is to be registered was
            not made.
    """
    gates = {
        "beats_pca": _beats_pca(candidate),
        "false_alarm_rate": _false_alarm_rate(candidate.metrics),
        "export_parity": _export_parity(candidate.parity),
    }
    if params.min_auroc is not None:
        gates["min_auroc"] = _min_auroc(candidate.metrics, params.min_auroc)
    if publish != FLOAT32:
        gates["compression"] = _compression(candidate, publish)
    return gates


def promotion(gates: dict[str, Gate]) -> tuple[bool, list[str]]:
    """Whether a winner with these gates may be promoted, and why (not)."""
    if gates["beats_pca"].verdict == "not_applicable":
        return False, ["no model beats PCA: the winner is PCA itself"]
    failed = [gate.text for gate in gates.values() if gate.verdict == "fail"]
    return not failed, failed or [gate.text for gate in gates.values()]


def _beats_pca(candidate: Candidate) -> Gate:
    metrics = candidate.metrics
    value = metrics["mse_ratio_to_pca"]
    if candidate.is_pca:
        return Gate("not_applicable", value, 1, "this is PCA itself, the yardstick")
    text = f"squared error is {ratio(value)} of PCA's at the same code size"
    text += f" (95 % interval {interval(metrics, 'mse_ratio_to_pca')})"
    if value >= 1:
        return Gate("fail", value, 1, f"{text}: not below PCA's")
    if metrics["mse_ratio_to_pca_high"] >= 1:
        return Gate("warning", value, 1, f"{text}: smaller, but the interval does not rule out PCA's")
    return Gate("pass", value, 1, text)


def _false_alarm_rate(metrics: dict[str, Any]) -> Gate:
    value, alpha = metrics["false_alarm_rate"], metrics["alpha"]
    text = (
        f"{number(metrics['false_alarms'])} of {number(metrics['normal_records'])} normal test records raise an alarm, "
        f"{percent(value)} (95 % interval {interval(metrics, 'false_alarm', percent)}), promised {promised(alpha)}"
    )
    if metrics["false_alarm_excess_p"] < SIGNIFICANT:
        p = metrics["false_alarm_excess_p"]
        return Gate("fail", value, alpha, f"{text}: significantly more (p = {p:.2g})")
    if metrics["false_alarm_deficit_p"] < SIGNIFICANT:
        p = metrics["false_alarm_deficit_p"]
        return Gate("warning", value, alpha, f"{text}: significantly fewer (p = {p:.2g}), test may be easier")
    return Gate("pass", value, alpha, text)


def _export_parity(parity: dict[str, Any]) -> Gate:
    flips = parity["scorer"]["flips_outside_tolerance"]
    largest = parity["scorer"]["max_abs_difference"]["score"]
    batches = (
        f"{number(parity['records_in_all_batches'])} of them in batches of {', '.join(map(str, parity['batches']))}"
    )
    checked = f"over {number(parity['records'])} test records, {batches}"
    if parity["passed"]:
        return Gate("pass", flips, 0, f"the exported scorer equals the model, scores within {largest:.1g} {checked}")
    return Gate(
        "fail", flips, 0, f"the exported scorer differs from the model, scores by up to {largest:.1g} {checked}"
    )


def _compression(candidate: Candidate, method: str) -> Gate:
    try:
        row = candidate.compression[method]
    except KeyError:
        what = f"is '{method}', which was not made of '{candidate.name}'"
        raise UserError("export.publish", what, f"add {method} to compress.methods, or publish {FLOAT32}") from None
    if "not_applicable" in row:
        return Gate("fail", 0, 1, f"there is no {method} of {candidate.name}: {row['not_applicable']}")
    faults, error, pca = list(row["faults"]), row["mse"], candidate.metrics["pca_mse"]
    if error >= pca and candidate.metrics["mse"] < pca:
        faults.append(f"its squared error is {number(error)}, no longer below PCA's {number(pca)}")
    if faults:
        return Gate("fail", row["rank_correlation"], 1, f"{method} is not to be published: {'; '.join(faults)}")
    area = "" if row["auroc_loss"] is None else f"AUROC {signed(-row['auroc_loss'])} and "
    text = f"{method} has {percent(row['size_ratio'])} of the size, with {area}a rank correlation of scores of"
    return Gate("pass", row["rank_correlation"], 1, f"{text} {ratio(row['rank_correlation'])}, within its limits")


def _min_auroc(metrics: dict[str, Any], smallest: float) -> Gate:
    if "auroc" not in metrics:
        raise UserError(
            "compare.gates.min_auroc",
            f"asks for an AUROC of {smallest:g}, but test holds no labelled anomalies to measure it on",
            "set it to null, or name prepare.normal_classes",
        )
    value = metrics["auroc"]
    text = f"AUROC on test is {ratio(value)} (95 % interval {interval(metrics, 'auroc')}), asked for {smallest:g}"
    return Gate("pass" if value >= smallest else "fail", value, smallest, text)
