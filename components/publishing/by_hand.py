"""What a person does to the alias `champion`: back to the version before, or to any version, with a reason."""

import uuid
from datetime import datetime
from typing import TYPE_CHECKING

from components.params import unknown
from components.publishing.moves import REPLACED, Aliases, Entry, Move, catch_up, make
from components.publishing.store import Store
from components.runtime.errors import UserError

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

BY_HAND = "set the alias 'champion' by hand: `python -m components.register --champion NAME/VERSION --reason WHY`"


def roll_back(store: Store, reason: str, now: datetime) -> tuple[str, str]:
    """Move the alias back to the version that the champion replaced; return (from, to).

    Raises:
        UserError: no such model, no champion, or none before it.
    """
    where = "register rollback"
    versions = versions_of(store, where)
    aliases, finished = catch_up(store, now)
    if interrupted := _of_kind(finished, "rolled back"):
        return interrupted  # asked for twice because the first time was cut off, and not to go back two steps
    champion = aliases.champion
    if champion is None:
        raise UserError(where, f"'{store.name}' has no champion", BY_HAND)
    if not (previous := versions[champion].tags.get(REPLACED)):
        what = f"version {champion} is the first champion of '{store.name}', there is none before it"
        raise UserError(where, what, BY_HAND)
    if previous not in versions:
        raise UserError(where, f"version {previous}, the champion before version {champion}, was deleted", BY_HAND)
    move = back_to(previous, versions[previous].tags.get(REPLACED), aliases, reason)
    make(store, move, f"by hand {uuid.uuid4().hex}", now)
    return champion, previous


def back_to(previous: str, before_it: str | None, aliases: Aliases, reason: str) -> Move:
    """The move that gives the alias back; a version in shadow keeps its place until `settling` looks at it."""
    after = Aliases(previous, previous=before_it, shadow=aliases.shadow)
    return Move("rolled back", str(aliases.champion), aliases, after, reason)


def choose(store: Store, reference: str, reason: str, now: datetime) -> tuple[str | None, str]:
    """Make any version champion; return (from, to).

    Raises:
        UserError: `reference` is not NAME/VERSION of this model, or no reason is given.
    """
    where = "--champion"
    if not reason.strip():
        raise UserError("--reason", "a move by hand needs one", "say why, the history keeps it")
    versions = versions_of(store, where)
    name, _, number = reference.rpartition("/")
    if name != store.name:
        raise UserError(where, f"'{reference}' is no version of '{store.name}'", f"write {store.name}/NUMBER")
    if number not in versions:
        raise unknown(where, f"version of {store.name}", number, versions)
    aliases, finished = catch_up(store, now)
    if (interrupted := _of_kind(finished, "by hand")) and interrupted[1] == number:
        return interrupted
    if number != aliases.champion:
        shadow = None if aliases.shadow == number else aliases.shadow
        after = Aliases(number, previous=aliases.champion or aliases.previous, shadow=shadow)
        make(store, Move("by hand", number, aliases, after, reason), f"by hand {uuid.uuid4().hex}", now)
    return aliases.champion, number


def versions_of(store: Store, where: str) -> "dict[str, ModelVersion]":
    """All versions by their numbers.

    Raises:
        UserError: no such model.
    """
    if not store.client.search_registered_models(f"name = '{store.name}'"):
        names = [model.name for model in store.client.search_registered_models()]
        if not names:
            raise UserError(where, "nothing is registered yet", "run `make run`")
        raise unknown("register.name", "registered model", store.name, names)
    found = store.client.search_model_versions(f"name = '{store.name}'")
    return {str(version.version): version for version in found}


def _of_kind(finished: Entry | None, kind: str) -> tuple[str, str] | None:
    """(from, to) of a move of that kind which was just finished for an earlier process."""
    if finished and finished.move.kind == kind and finished.move.after.champion:
        return str(finished.move.before.champion), finished.move.after.champion
    return None
