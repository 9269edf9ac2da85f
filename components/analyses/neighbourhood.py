"""Neighbourhood: whether records that are close have close codes, and the other way round.

Papers: Venna and Kaski, "Neighborhood Preservation in Nonlinear Projection Methods", ICANN 2001. Trustworthiness is
scikit-learn's: it falls when the code brings together what is far apart; continuity is the same with the spaces swapped
and falls when the code tears apart what is close. Both are 1 where all neighbourhoods are kept.
"""

from typing import Annotated

from pydantic import Field

from components.analyses import AnalysisEntry, AnalysisParams, NotApplicableError
from components.analysing.outcome import Outcome, Picture, Table
from components.analysing.subject import Subject
from components.comparing.wording import ratio
from components.reporting.analysis_plots import Axis, curves


class Params(AnalysisParams):
    """Sizes of neighbourhoods."""

    neighbours: list[Annotated[int, Field(ge=1, le=1000)]] = Field([5, 10, 20, 50], min_length=1)
    """Each must be less than half of the records."""
    records: int = Field(2000, ge=10, le=10_000)
    """Normal test records, evenly spaced; memory grows with the square."""


def run(params: Params, subject: Subject) -> Outcome:
    """Measure both on the normal test records.

    Raises:
        NotApplicableError: there are too few of them.
    """
    from sklearn.manifold import trustworthiness

    sample = subject.usual.spaced(params.records)
    sizes = [size for size in sorted(set(params.neighbours)) if 2 * size < len(sample)]
    if not sizes:
        raise NotApplicableError(
            f"{len(sample)} normal test records have no neighbourhoods of {min(params.neighbours)}"
        )
    spaces = sample.spaces()
    record = spaces.pop("record")
    pairs = {
        f"{measure} of {space}": pair
        for space, values in spaces.items()
        for measure, pair in (("trustworthiness", (record, values)), ("continuity", (values, record)))
    }
    series = {
        label: (sizes, [float(trustworthiness(*pair, n_neighbors=size)) for size in sizes])
        for label, pair in pairs.items()
    }
    told = ", ".join(f"{label} {ratio(values[0])}" for label, (_, values) in series.items())
    figure = curves("Neighbourhoods kept", Axis("neighbours", logarithmic=len(sizes) > 1), Axis("1 is perfect"), series)
    return Outcome(
        answer=f"With {sizes[0]} neighbours of {len(sample)} normal test records: {told}.",
        numbers={
            f"{label.replace(' of ', '_')}_at_{size}".lower(): value
            for label, (_, values) in series.items()
            for size, value in zip(sizes, values, strict=True)
        },
        tables={
            "neighbourhood": Table.of_columns(
                "Neighbourhoods kept", {"neighbours": sizes, **{label: values for label, (_, values) in series.items()}}
            )
        },
        pictures={"neighbourhood": Picture(figure, "Of codes, against records.", f"At {sizes[0]} neighbours: {told}.")},
    )


ANALYSIS = AnalysisEntry(
    run, Params, "Neighbourhoods", "Do records that are close have close codes, and the other way round?"
)
