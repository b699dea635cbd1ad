"""Declares exchanges, queues and bindings for `crossdock up`, and the retention of the log of events."""

import os
from pathlib import Path

import orjson

from broker import retention, topology
from broker.management import Management, ManagementError
from deploy.local.rabbitmq import RabbitMQ
from deploy.state import SHARDS_FILE
from schemas.topology import EVENTS_LOG, LOG_POLICY, Topology


async def declare(
    url: str, expected: Topology, shards: int, state: Path, server: RabbitMQ | None, *, is_new: bool
) -> list[str]:
    """Declare the topology, and return notes for the operator, one line each.

    `server`: the node that `up` has started, if any; `is_new`: it had no data before. No ingress of ours may run yet.
    Raises TopologyError and StartError.
    """
    applied = await topology.apply(url, expected, alone=server is not None)
    notes = list(applied.notes)
    differences = applied.of(EVENTS_LOG)
    if server is not None:
        await _set_own_retention(server, expected, state, bool(differences))
    else:
        management_url = os.environ.get("RABBITMQ_MANAGEMENT_URL")
        try:
            management = Management(management_url) if management_url else None
            if note := await retention.apply(url, expected, differences, management):
                notes.append(note)
        except ManagementError as error:
            notes.append(f"the retention of {EVENTS_LOG} is not set: {error}")
    # A search for bindings that another number of shards needed is an error in the broker's log: only after a change.
    file = state / SHARDS_FILE
    if (file.read_text() if file.exists() else "") != str(shards):
        if not is_new:
            notes += await topology.prune(url, expected)
        file.write_text(str(shards))
    return notes


async def _set_own_retention(server: RabbitMQ, expected: Topology, state: Path, differs: bool) -> None:
    """Give the log of our own node the configured retention by a policy, if it was declared with another one.

    A policy that the node loads at its start does not affect a stream, so `rabbitmqctl` sets it, once.
    """
    file = state / LOG_POLICY
    policy = retention.policy(expected)
    definition = orjson.dumps(policy["definition"]).decode() if differs else ""
    if (file.read_text() if file.exists() else "") == definition:
        return
    if definition:
        options = ("--priority", str(policy["priority"]), "--apply-to", policy["apply-to"])
        await server.control("set_policy", *options, LOG_POLICY, policy["pattern"], definition)
    else:
        await server.control("clear_policy", LOG_POLICY)
    file.write_text(definition)
