"""Have Prefect's server tell people: of a training that failed, of drift, of a new champion, of work that stays undone.

    HOURGLASS_WEBHOOK=https://… python -m infra.notifications          {"text": …} is posted there, as chats take it
    python -m infra.notifications --block slack-webhook/team           through any notification block that is there
In:  PREFECT_API_URL. Out: on that server automations named `hourglass: …` and, for an address, the block
     custom-webhook/hourglass, which keeps it encrypted. Running again brings them up to date. One message says so.
Exit code 2: something the user can mend, told in a line `error: …`.
"""

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from components.runtime.errors import UserError, run_main
from flows.running.server import check_lasting_server

if TYPE_CHECKING:
    from prefect.blocks.abstract import NotificationBlock
    from prefect.events.schemas.automations import AutomationCore

VARIABLE = "HOURGLASS_WEBHOOK"
BLOCK = "hourglass"
HOUR = timedelta(hours=1)
_BODY = "{{ flow_run.state.name }}: {{ flow_run.state.message }}\n{{ flow_run | ui_url or flow_run.name }}"


@dataclass(frozen=True)
class Notice:
    """What people are told of."""

    about: str
    flow: str
    states: str = "*"
    """Name of the state that the flow ends in."""
    types: Sequence[str] = ("COMPLETED",)
    """Prefect's types of that state."""
    times: int = 1
    within: timedelta = timedelta(0)
    """It is told when it came about so many times within this, and then not again before this has passed."""

    def automation(self, block: Any) -> "AutomationCore":
        """What makes the server tell it, through a block's document."""
        from prefect.events.actions import SendNotification
        from prefect.events.schemas.automations import AutomationCore, EventTrigger, Posture

        return AutomationCore(
            name=f"hourglass: {self.about}",
            trigger=EventTrigger(
                expect={f"prefect.flow-run.{self.states}"},
                match={"prefect.resource.id": "prefect.flow-run.*", "prefect.state-type": list(self.types)},
                match_related={"prefect.resource.role": "flow", "prefect.resource.name": self.flow},
                posture=Posture.Reactive,
                threshold=self.times,
                within=self.within,
            ),
            actions=[SendNotification(block_document_id=block, subject=f"Hourglass: {self.about}", body=_BODY)],
        )


_BAD = ("FAILED", "CRASHED")
NOTICES = (
    Notice("training failed", "training", types=_BAD),
    Notice("a new champion", "training", "Promoted"),
    Notice("drift", "monitoring", "Alarm", within=24 * HOUR),  # it is found anew every hour, until it is gone
    Notice("monitoring fails again and again", "monitoring", types=_BAD, times=3, within=6 * HOUR),
    Notice("scoring fails again and again", "scoring", types=_BAD, times=3, within=6 * HOUR),
)


def webhook(address: str) -> "NotificationBlock":
    """A block that posts to an address, which is a secret: whoever knows it can write there."""
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    return CustomWebhookNotificationBlock(
        name=BLOCK,
        url="{{address}}",
        secrets={"address": address},
        json_data={"text": "{{subject}}\n{{body}}"},
    )


def existing(slug: str) -> "NotificationBlock":
    """The notification block TYPE/NAME.

    Raises:
        UserError: there is none.
    """
    from prefect.blocks.abstract import NotificationBlock
    from prefect.blocks.core import Block

    try:
        block = Block.load(slug)
    except ValueError as error:
        raise UserError("--block", f"'{slug}' cannot be had ({error})", "run `prefect block ls`") from None
    if not isinstance(block, NotificationBlock):
        raise UserError("--block", f"'{slug}' is no notification block", "name another, or make one in Prefect's pages")
    return block


def announce(block: Any) -> None:
    """Write every notice to the server, or bring it up to date."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        for notice in NOTICES:
            automation = notice.automation(block)
            if known := client.read_automations_by_name(automation.name):
                client.update_automation(known[0].id, automation)
            else:
                client.create_automation(automation)
            print(f"will be told: {notice.about}")


def send_first(block: "NotificationBlock") -> None:
    """Send a message from here, so that a wrong address shows now and not in a bad night.

    Raises:
        UserError: it did not arrive.
    """
    from httpx import HTTPError
    from prefect.blocks.abstract import NotificationError

    try:
        with block.raise_on_failure():
            block.notify("From now on this is where the factory's news arrive.", subject="Hourglass: notifications")
    except (HTTPError, NotificationError, OSError, ValueError) as error:
        fix = f"correct {VARIABLE} or the block, and run again"
        raise UserError("notification", f"the first message did not arrive ({type(error).__name__})", fix) from None


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m infra.notifications", description=__doc__.partition("\n")[0])
    parser.add_argument("--block", metavar="TYPE/NAME", help=f"an existing one, instead of an address in {VARIABLE}")
    slug, address = parser.parse_args().block, os.environ.get(VARIABLE, "")
    if not slug and not address.startswith(("http://", "https://")):
        what = "is not set to an address that begins with https:// or http://"
        raise UserError(VARIABLE, what, "set it, or name a block with --block")
    if "PREFECT_API_URL" not in os.environ:
        raise UserError("PREFECT_API_URL", "is not set, and a lasting server sends notifications", "`. .stack/env`")
    check_lasting_server()
    block = existing(slug) if slug else webhook(address)
    send_first(block)
    announce(block._block_document_id if slug else block.save(BLOCK, overwrite=True))


if __name__ == "__main__":
    run_main(main)
