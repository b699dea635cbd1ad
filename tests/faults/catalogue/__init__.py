"""The faults, by what they break. A new one is one more entry of its module's `FAULTS`.

How a fault is run and judged is not known here.
Begin with `connections`, the module with the simplest faults.
"""

import msgspec

from tests.faults.catalogue import (
    connections,
    consoles,
    errors,
    large,
    machine,
    pairs,
    poison,
    processes,
    servers,
    unavailable,
)
from tests.faults.trial import Fault


class Group(msgspec.Struct, frozen=True):
    """Faults of the same kind, which are one row of the summary."""

    name: str
    faults: tuple[Fault, ...]


PROCESSES = Group("our processes killed, stopped, restarted, reloaded", (*processes.FAULTS, *consoles.FAULTS))
SERVERS = Group("RabbitMQ and PostgreSQL killed, restarted, unavailable", servers.FAULTS)
CONNECTIONS = Group("connections cut, stalled, delayed, half-closed; answers lost", connections.FAULTS)
CLOCKS = Group("a clock that jumps", machine.FAULTS)
PAIRS = Group("two at once", pairs.FAULTS)
UNAVAILABLE = Group("the database unavailable while the store worker dies", unavailable.FAULTS)
ERRORS = Group("errors of PostgreSQL, drawn at random", errors.FAULTS)
GROUPS = (PROCESSES, SERVERS, CONNECTIONS, CLOCKS, PAIRS, UNAVAILABLE, ERRORS)
"""The faults of one RabbitMQ and one PostgreSQL. `tests.faults.suite.sites` runs each group."""
FAULTS = tuple(fault for group in GROUPS for fault in group.faults)


def named(name: str) -> Fault:
    """Return the fault of this name. Raises LookupError, whose text lists the known names."""
    known = (*FAULTS, *poison.FAULTS, *large.FEWER)
    for fault in known:
        if fault.name == name:
            return fault
    raise LookupError(f"no fault {name!r}; there are: {', '.join(fault.name for fault in known)}")
