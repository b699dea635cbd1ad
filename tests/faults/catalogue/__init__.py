"""The faults, by what they break. A new one is one more entry of its module's `FAULTS`.

How a fault is run and judged is not known here.
Begin with `connections`, the module with the simplest faults.
"""

import msgspec

from tests.faults.catalogue import connections, errors, large, machine, pairs, poison, processes, servers, unavailable
from tests.faults.trial import Fault


class Group(msgspec.Struct, frozen=True):
    """Faults of one kind."""

    name: str
    faults: tuple[Fault, ...]


GROUPS = (
    Group("our processes killed, stopped, restarted, reloaded", processes.FAULTS),
    Group("RabbitMQ and PostgreSQL killed, restarted, unavailable", servers.FAULTS),
    Group("connections cut, stalled, delayed, half-closed; answers lost", connections.FAULTS),
    Group("a clock that jumps", machine.FAULTS),
    Group("two at once", pairs.FAULTS),
    Group("the database unavailable while the store worker dies", unavailable.FAULTS),
    Group("errors of PostgreSQL, drawn at random", errors.FAULTS),
)
"""Those of one RabbitMQ and one PostgreSQL, in the order of the table."""
FAULTS = tuple(fault for group in GROUPS for fault in group.faults)


def named(name: str) -> Fault:
    """Return the fault of this name. Raises LookupError."""
    known = (*FAULTS, *poison.FAULTS, *large.FEWER)
    for fault in known:
        if fault.name == name:
            return fault
    raise LookupError(f"no fault {name!r}; there are: {', '.join(fault.name for fault in known)}")
