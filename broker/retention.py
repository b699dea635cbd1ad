"""The retention of an existing `crossdock.events.log`; a changed setting never deletes the queue.

AMQP cannot change the arguments of a queue, but a policy can override them: for streams it takes precedence over the
arguments on RabbitMQ 3.10 to 4.3. Setting a policy needs the management API or `rabbitmqctl`.
"""

import json
import re
import shlex
from typing import TypedDict

from broker.declare import Difference
from broker.management import Management, vhost_of
from schemas.topology import EVENTS_LOG, LOG_POLICY, Queue, Topology, log_policy

PRIORITY = 10
"""Higher than the default of 0, because RabbitMQ applies the matching policy with the highest priority."""


Policy = TypedDict(
    "Policy", {"pattern": str, "apply-to": str, "priority": int, "definition": dict[str, str | int]}
)  # fmt: skip
"""A policy in the management API's format."""


def log_queue(expected: Topology) -> Queue:
    """Return the log queue as it is configured."""
    return next(queue for queue in expected.queues if queue.name == EVENTS_LOG)


def policy(expected: Topology) -> Policy:
    """Return the policy that gives an existing log the configured retention, in the management API's format."""
    return {
        "pattern": f"^{re.escape(EVENTS_LOG)}$",
        "apply-to": "queues",
        "priority": PRIORITY,
        "definition": log_policy(log_queue(expected)),
    }


def command(url: str, expected: Topology) -> str:
    """Return the `rabbitmqctl` command that sets the policy."""
    settings = policy(expected)
    encoded = json.dumps(settings["definition"], separators=(",", ":"))
    words = ["rabbitmqctl", "set_policy", "--vhost", vhost_of(url), "--priority", str(PRIORITY)]
    words += ["--apply-to", settings["apply-to"], LOG_POLICY, settings["pattern"], encoded]
    return shlex.join(words)


async def apply(
    url: str, expected: Topology, differences: list[Difference], management: Management | None
) -> str | None:
    """Give the log the configured retention, or return one line that explains how to do it.

    `differences`: those of the log, from `topology.apply`. Raises ManagementError.
    """
    if management is not None:
        if differences:
            await management.set_policy(vhost_of(url), LOG_POLICY, policy(expected))
        else:
            await management.remove_policy(vhost_of(url), LOG_POLICY)  # an older policy would override the arguments
        return None
    if not differences:
        return None
    return (
        f"{EVENTS_LOG} was declared with another retention, and nothing of it is deleted: give --management URL to "
        f"set the configured one, or run {command(url, expected)}"
    )
