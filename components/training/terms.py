"""How much each named term of an objective counts."""

from torch import Tensor

from components.params.train import Params
from components.runtime.errors import UserError

RECONSTRUCTION = "reconstruction"
"""The term that every model has, and that no warm-up holds back."""


class TermFactors:
    """`train.term_weights`, and their climb over `train.term_warm_up` epochs.

    Args:
        where: the variant's key in params.yaml, for messages.
    """

    def __init__(self, params: Params, where: str) -> None:
        self.params, self.where = params, where

    def of(self, name: str, epoch: int | None = None) -> float:
        """The factor of a term: in full, or in an epoch of training."""
        factor = self.params.term_weights.get(name, 1.0)
        if epoch is None or name == RECONSTRUCTION or epoch >= self.params.term_warm_up:
            return factor
        return factor * epoch / self.params.term_warm_up

    def total(self, terms: dict[str, Tensor], epoch: int) -> Tensor:
        """What an epoch minimises. Shapes: terms () each, result ().

        Raises:
            UserError: `term_weights` names a term that the model does not have.
        """
        if unknown := self.params.term_weights.keys() - terms:
            raise UserError(
                f"{self.where}.term_weights",
                f"the model has no term '{min(unknown)}'",
                f"its terms are {', '.join(terms)}",
            )
        return sum(self.of(name, epoch) * term for name, term in terms.items())
