"""What says that an operator has acted, beside the row in the database: a log line and a counter."""

import logging

import msgspec
from prometheus_client import Counter

from storage.actions import Actor

log = logging.getLogger("crossdock.console")

ACTIONS = Counter("crossdock_console_actions", "Actions of operators", ("action", "outcome"))


class Recorded(msgspec.Struct, frozen=True, kw_only=True):
    """An action as it was recorded."""

    actor: Actor
    action: str
    outcome: str
    subject: str = ""
    count: int | None = None


def announce(recorded: Recorded) -> None:
    """Count and log an action, once what recorded it is committed."""
    ACTIONS.labels(recorded.action, recorded.outcome).inc()
    log.log(
        logging.WARNING if recorded.outcome == "refused" else logging.INFO,
        "action",
        extra={
            "operator": recorded.actor.operator,
            "role": recorded.actor.role,
            "remote": recorded.actor.address,
            "action": recorded.action,
            "outcome": recorded.outcome,
            "subject": recorded.subject[:200],
            "count": recorded.count,
        },
    )
