"""How a training talks: a live bar on a terminal, one line per epoch everywhere else."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from components.training.trainer import Epoch


@contextmanager
def epoch_log(variant: str, live: bool) -> Iterator[Callable[[Epoch], None]]:
    """A function that hears every epoch."""
    if not live:
        yield lambda epoch: print(f"{variant}: {_line(epoch)}", flush=True)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[line]}"))
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(variant, total=None, line="")
        yield lambda epoch: bar.update(task, total=epoch.total, completed=epoch.row["epoch"] + 1, line=_line(epoch))


def _line(epoch: Epoch) -> str:
    row = epoch.row
    return (
        f"epoch {row['epoch'] + 1:.0f}/{epoch.total}  train {row['train_loss']:.6f}  "
        f"validation {row['validation_loss']:.6f}  lr {row['learning_rate']:.2e}  "
        f"gradient {row['gradient_norm']:.2e}  {epoch.records_per_second:,.0f} records/s"
    )
