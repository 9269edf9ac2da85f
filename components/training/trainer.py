"""The one trainer: gradient steps on per-record objectives, fast, reproducible and resumable.

Records come in their raw type (`components.training.records`) and are scaled per batch, which beats a loader that
decodes and copies. The random state is set anew from (seed, epoch), so a resumed run takes the steps of an
undisturbed one.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from components.data.batches import batch_of
from components.models import Autoencoder
from components.params.train import Params
from components.runtime.errors import UserError
from components.training.checkpoint import Checkpoints
from components.training.optimizers import make_optimizer
from components.training.records import Records
from components.training.schedules import Now, begin, plateaus, rate
from components.training.terms import TermFactors

VALIDATION_BATCH = 1024
"""Records at most."""
Row = dict[str, float]


@dataclass(frozen=True)
class Epoch:
    """What the log hears after each epoch."""

    row: Row
    total: int
    records_per_second: float


@dataclass
class Progress:
    """Where a run stands between two epochs."""

    history: list[Row] = field(default_factory=list)
    best_epoch: int = -1
    best_loss: float = math.inf
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def losses(self) -> list[float]:
        """Validation loss of every complete epoch."""
        return [row["validation_loss"] for row in self.history]


class Trainer:
    """Trains one network on one device.

    Args:
        network: on the device; left with the weights of its best epoch.
        scale: raw records (batch, *item) to scaled float32, on the device.
        params: the section `train:` with the variant's overrides.
        seed: decides batches and corruption.
        precision: float32, or bf16 for autocast in training; validation is always float32.
        where: the variant's key in params.yaml, for messages.
    """

    def __init__(
        self, network: Autoencoder, scale: nn.Module, params: Params, seed: int, precision: str, where: str
    ) -> None:
        self.network, self.scale, self.params, self.seed, self.where = network, scale, params, seed, where
        # channel by channel convolutions in bf16 take three times as long on a CPU
        convolves = any(isinstance(layer, nn.Conv2d) for layer in network.modules())
        self.layout = torch.channels_last if convolves else torch.contiguous_format
        network.to(memory_format=self.layout)
        self.weights = list(network.parameters())
        self.device = self.weights[0].device
        self.optimizer = make_optimizer(network, params)
        self.factors = TermFactors(params, where)
        self.autocast = (
            (lambda: torch.autocast(self.device.type, torch.bfloat16)) if precision == "bf16" else nullcontext
        )
        self.objective = network.objective
        if params.compile:
            torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())  # tells the compiler too
            self.objective = torch.compile(network.objective)

    def fit(
        self, train: Records, validation: Records, checkpoints: Checkpoints, log: Callable[[Epoch], None]
    ) -> Progress:
        """Train until the last epoch or until patience ends; return the history and the best epoch.

        Raises:
            UserError: the loss is no longer finite.
        """
        progress = self._resume(checkpoints)
        if not progress.history:
            self._prepare(train)
        for epoch in range(len(progress.history), self.params.epochs):
            ended = plateaus(progress.losses, self.params.patience)
            if len(ended) > self.params.restarts:
                break
            if epoch - 1 in ended:
                self._restart(progress)
            started = time.perf_counter()
            row = {"epoch": float(epoch), **self._train_epoch(train, epoch, progress.losses)}
            elapsed = time.perf_counter() - started
            row |= self._validate(validation)
            self._note(progress, row)
            self._save(progress, checkpoints)
            log(Epoch(row, self.params.epochs, len(train) / elapsed))
        self.network.load_state_dict(progress.best)
        self.network.to(memory_format=torch.contiguous_format)
        return progress

    def _scaled(self, raw: Tensor) -> Tensor:
        return self.scale(raw.to(self.device)).contiguous(memory_format=self.layout)

    def _prepare(self, records: Records) -> None:
        """What the network does before its first step; broken off, it starts again from the beginning."""

        def batches() -> Iterator[Tensor]:
            for raw in records.shuffled(self.params.batch_size):
                yield self._scaled(raw)

        torch.manual_seed(derive_seed(self.seed, "prepare"))
        self.network.train()
        try:
            self.network.prepare_for(batches)
        except ValueError as error:
            raise UserError(self.where, str(error), "choose a smaller code or add records") from None

    def _restart(self, progress: Progress) -> None:
        """Back to the best weights, without the momentum that led away from them."""
        self.network.load_state_dict(progress.best)
        self.optimizer = make_optimizer(self.network, self.params)

    def _note(self, progress: Progress, row: Row) -> None:
        if not all(map(math.isfinite, row.values())):
            raise UserError(
                self.where,
                f"training diverged in epoch {row['epoch']:.0f} (its loss is not finite)",
                f"lower learning_rate (now {self.params.learning_rate:g}) or clip_norm",
            )
        progress.history.append(row)
        if row["validation_loss"] < progress.best_loss:
            progress.best_epoch, progress.best_loss = len(progress.history) - 1, row["validation_loss"]
            progress.best = {name: tensor.detach().clone() for name, tensor in self.network.state_dict().items()}

    def _train_epoch(self, records: Records, epoch: int, losses: list[float]) -> Row:
        """One pass, behind `losses` of earlier ones; sums stay on the device, so that no step waits for the host."""
        self.network.train()
        torch.manual_seed(derive_seed(self.seed, f"epoch {epoch}"))
        steps = math.ceil(len(records) / self.params.batch_size)
        now, sums = begin(epoch, losses, self.params), dict[str, Tensor]()
        norms = torch.zeros((), device=self.device)
        for step, raw in enumerate(records.shuffled(self.params.batch_size)):
            chosen = self._set_rate(now.at((epoch * steps + step) / (self.params.epochs * steps)))
            with self.autocast():
                terms = self.objective(self._scaled(raw))
            loss = self.factors.total({name: term.float().mean() for name, term in terms.items()}, epoch)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norms += nn.utils.clip_grad_norm_(self.weights, self.params.clip_norm)
            self.optimizer.step()
            add_sums(sums, terms)
        row = {"learning_rate": chosen, "gradient_norm": norms.item() / steps}
        return row | self._means("train", sums, len(records))

    @torch.no_grad()
    def _validate(self, records: Records) -> Row:
        """The objective on validation; its random draws are the same in every epoch, so that epochs compare."""
        self.network.eval()
        torch.manual_seed(derive_seed(self.seed, "validation"))
        sums: dict[str, Tensor] = {}
        for raw in records.in_order(batch_of(self.network.item.shape, VALIDATION_BATCH)):
            add_sums(sums, self.network.objective(self._scaled(raw)))
        return self._means("validation", sums, len(records))

    def _means(self, split: str, sums: dict[str, Tensor], count: int) -> Row:
        """Mean of each term as it is, and their sum at full weights, so that epochs compare throughout a warm-up."""
        means = {name: total.item() / count for name, total in sums.items()}
        loss = sum(self.factors.of(name) * mean for name, mean in means.items())
        return {f"{split}_loss": loss, **{f"{split}_{name}": mean for name, mean in means.items()}}

    def _set_rate(self, now: Now) -> float:
        chosen = rate(now)
        for group in self.optimizer.param_groups:
            group["lr"] = chosen
        return chosen

    def _save(self, progress: Progress, checkpoints: Checkpoints) -> None:
        tensors = {f"network/{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"best/{name}": tensor for name, tensor in progress.best.items()}
        tensors |= {f"optimizer/{index}/{name}": tensor for index, name, tensor in self._optimizer_tensors()}
        state = {"history": progress.history, "best_epoch": progress.best_epoch, "best_loss": progress.best_loss}
        checkpoints.save(tensors, state)

    def _optimizer_tensors(self) -> Iterator[tuple[int, str, Tensor]]:
        for index, values in self.optimizer.state_dict()["state"].items():
            for name, tensor in values.items():
                yield index, name, tensor

    def _resume(self, checkpoints: Checkpoints) -> Progress:
        if (saved := checkpoints.load()) is None:
            return Progress()
        tensors, state = saved
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "best": {}, "optimizer": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = tensor.to(self.device)
        self.network.load_state_dict(parts["network"])
        optimizer = self.optimizer.state_dict()
        for name, tensor in parts["optimizer"].items():
            index, _, key = name.partition("/")
            # a fused step walks weights and moments side by side through memory: they must lie alike
            lying = tensor.contiguous(memory_format=self.layout) if tensor.ndim == 4 else tensor
            optimizer["state"].setdefault(int(index), {})[key] = lying
        self.optimizer.load_state_dict(optimizer)
        return Progress(state["history"], state["best_epoch"], state["best_loss"], parts["best"])


def derive_seed(seed: int, purpose: str) -> int:
    """A seed of its own for each purpose, independent of how many numbers the others draw."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8], "big") >> 1


def add_sums(sums: dict[str, Tensor], terms: dict[str, Tensor]) -> None:
    """Add per-record terms (batch,): sums, not means, because the last batch is smaller and must not weigh more."""
    for name, term in terms.items():
        total = term.detach().double().sum()
        sums[name] = sums[name] + total if name in sums else total
