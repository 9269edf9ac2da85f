"""Servers that are away, slow, silent, answer 500 or cut the line, at the start, in the midst and at the end of a run.

The servers are the stack's own (`make stack`): PostgreSQL, S3, MLflow with its records in the one and its files in the
other, and Prefect. A relay stands before each, also between MLflow and what it needs.
"""

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from infra.stack import mlflow, postgres, prefect, processes, s3
from infra.stack.server import Server
from infra.stack.settings import HOST, Settings, open_settings
from tests.faults.relay import Fault, Relay, relaying
from tests.faults.result import Result
from tests.faults.world import FLOW, REGISTER, Checkout, Ending, State, World, edit_params, toy_world

REMOTE = "S3 as DVC's remote"
STEPS = {"at the start": 0.0, "in the midst": 0.5, "at the end": 0.95}
SLOWNESS = 0.3
"""Seconds that each piece of a request waits."""
_WORDS = {"500": "answers 500", "cut": "cuts the line"}


@dataclass(frozen=True)
class Link:
    """A way that requests take, and what travels on it."""

    name: str
    faults: tuple[Fault, ...]
    acts: tuple[str, ...] = REGISTER


LINKS = (
    Link("MLflow", ("away", "slow", "silent", "500", "cut")),
    Link("PostgreSQL behind MLflow", ("away", "slow", "cut")),
    Link("S3 behind MLflow", ("away", "slow", "500", "cut")),
    Link(REMOTE, ("away", "slow", "500", "cut")),
    Link("Prefect", ("away", "slow", "500", "cut"), FLOW),
    Link("PostgreSQL behind Prefect", ("away", "cut"), FLOW),
)


class Stack:
    """The running servers, and a relay for each link."""

    def __init__(self, settings: Settings, relays: dict[str, Relay]) -> None:
        self._settings, self.relays = settings, relays

    def environment(self, link: Link) -> dict[str, str]:
        """What leads a run to the servers that the link concerns."""
        if link.acts == FLOW:
            return prefect.client_environment(self._by(prefect="Prefect"))
        return {
            **mlflow.client_environment(self._by(mlflow="MLflow")),
            **s3.client_environment(self._by(s3=REMOTE)),
        }

    def url(self, link: Link) -> str:
        """The address of a link's relay."""
        return f"http://{HOST}:{self.relays[link.name].port}"

    def registered(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Content keys of the versions and of the runs under a name, each as often as it is there."""
        from mlflow.tracking import MlflowClient

        client = MlflowClient(self._settings.url("mlflow"))
        experiment = client.get_experiment_by_name(name)
        runs = client.search_runs([experiment.experiment_id]) if experiment else ()
        versions = client.search_model_versions(f"name = '{name}'")
        return _keys(version.tags for version in versions), _keys(run.data.tags for run in runs)

    def _by(self, **links: str) -> Settings:
        return by_relays(self._settings, {server: self.relays[link] for server, link in links.items()})


def _keys(tags: Iterable[Mapping[str, str]]) -> tuple[str, ...]:
    return tuple(sorted(found["hourglass.key"] for found in tags))


def by_relays(settings: Settings, relays: dict[str, Relay]) -> Settings:
    """The same servers, reached by relays."""
    return dataclasses.replace(settings, ports={**settings.ports, **{n: relay.port for n, relay in relays.items()}})


@contextmanager
def running_stack(folder: Path) -> Iterator[Stack]:
    """Start everything but the worker; stopped by the end of the block."""
    folder.mkdir(mode=0o755)
    settings = open_settings(folder / ".stack")
    with ExitStack() as held:

        def before(server: str) -> Relay:
            return held.enter_context(relaying(settings.ports[server]))

        relays = {
            "MLflow": before("mlflow"),
            "PostgreSQL behind MLflow": before("postgres"),
            "S3 behind MLflow": before("s3"),
            REMOTE: before("s3"),
            "Prefect": before("prefect"),
            "PostgreSQL behind Prefect": before("postgres"),
        }
        behind = {"postgres": relays["PostgreSQL behind MLflow"], "s3": relays["S3 behind MLflow"]}
        started: list[Server] = [
            postgres.server(settings),
            s3.server(settings),
            mlflow.server(by_relays(settings, behind)),
            prefect.server(by_relays(settings, {"postgres": relays["PostgreSQL behind Prefect"]})),
        ]
        for server in started:
            held.callback(processes.stop, settings, server.name, server.stop_signal)
            processes.start(settings, server)
            if server.name in ("postgres", "s3"):
                processes.wait_until_well(settings, server)
        for server in started[2:]:
            processes.wait_until_well(settings, server)
        yield Stack(settings, relays)


def provoke(world: World, random: Random, links: tuple[Link, ...] = LINKS) -> Iterator[Result]:
    """Each fault of each link at each step."""
    toys = toy_world(world.folder / "toys")
    with running_stack(world.folder / "servers") as stack:
        for link in links:
            yield from _spoil(stack, link, toys if link.acts == FLOW else world)


def _spoil(stack: Stack, link: Link, world: World) -> Iterator[Result]:
    relay, numbers = stack.relays[link.name], itertools.count()
    name = link.name.lower().replace(" ", "-").replace("'", "")
    relay.mend()
    if (ending := _act(stack, link, _case(stack, link, world, f"{name}-sound"))).code:
        raise RuntimeError(f"{link.name}: a run that nobody disturbs failed: {ending.said}")
    pieces = relay.pieces
    for fault, (step, share) in ((fault, step) for fault in link.faults for step in STEPS.items()):
        if fault == "silent" and step != "in the midst":
            continue  # a minute each
        checkout = _case(stack, link, world, f"{name}-{next(numbers)}")
        relay.spoil(fault, int(share * pieces), SLOWNESS)
        ending = _act(stack, link, checkout)
        met = relay.spoiled
        relay.mend()
        came_to = _continue(stack, link, checkout, world.undisturbed) if met else "the fault was never met"
        yield Result(f"{link.name}: {_WORDS.get(fault, fault)}", step, ending.in_words(), came_to)


def _case(stack: Stack, link: Link, world: World, name: str) -> Checkout:
    """A checkout with something to publish, under a name of its own, or with everything to do."""
    if link.acts == FLOW:
        return world.fresh(name)
    checkout = world.unpublished(name)
    edit_params(checkout.path, register={"name": checkout.path.name})
    if link.name == REMOTE:
        remote = f"    url = s3://{s3.BUCKET}/{checkout.path.name}\n    endpointurl = {stack.url(link)}\n"
        config = f"[core]\n    remote = store\n['remote \"store\"']\n{remote}"
        (checkout.path / ".dvc/config.local").write_text(config)
    return checkout


def _act(stack: Stack, link: Link, checkout: Checkout) -> Ending:
    return checkout.run(*link.acts, **stack.environment(link))


def _continue(stack: Stack, link: Link, checkout: Checkout, undisturbed: State) -> str:
    """What a run comes to when the server is well again."""
    if (ending := _act(stack, link, checkout)).code:
        return f"NOT: {ending.in_words()}"
    state = checkout.state()
    if link.acts == REGISTER:
        versions, runs = stack.registered(checkout.path.name)
        state = dataclasses.replace(state, versions=versions, runs=runs)
    return state.compare(undisturbed)
