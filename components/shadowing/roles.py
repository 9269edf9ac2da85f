"""Who is in shadow of the champion: a challenger that won its match, and the champion before during a probation."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from components.params.register import Params
from components.publishing.moves import Entry, latest_of, latest_of_champion, read_aliases
from components.publishing.store import Store


@dataclass(frozen=True)
class Role:
    """A version in shadow."""

    version: str
    role: Literal["challenger", "previous"]
    begun: Entry
    """The move that put it there."""
    until: datetime
    """When its period is over, at the earliest."""


def in_shadow(store: Store, champion: str, params: Params, now: datetime) -> list[Role]:
    """The versions that score what `champion` scores; none where that is not the champion."""
    roles = [challenger(store, params), previous(store, params)]
    return [
        role
        for role in roles
        if role and role.begun.move.after.champion == champion and (role.role == "challenger" or now < role.until)
    ]


def challenger(store: Store, params: Params) -> Role | None:
    """The challenger in shadow."""
    version = read_aliases(store).shadow
    begun = latest_of(store, version, "shadow begun") if version else None
    if version is None or begun is None:
        return None
    return Role(version, "challenger", begun, begun.at + timedelta(hours=params.shadow_hours))


def previous(store: Store, params: Params) -> Role | None:
    """The champion before one that took over by itself, whose probation may have ended by now."""
    begun, aliases = latest_of_champion(store), read_aliases(store)
    if begun is None or begun.move.kind != "promoted" or begun.move.after.champion != aliases.champion:
        return None
    before = begun.move.before.champion
    if before is None or before != aliases.previous or not params.probation_hours:
        return None
    return Role(before, "previous", begun, begun.at + timedelta(hours=params.probation_hours))
