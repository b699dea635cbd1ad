"""The faults, by what they break. A new one is one more entry of its module's `FAULTS`."""

from tests.faults.catalogue import connections, machine, pairs, processes, servers
from tests.faults.trial import Fault

FAULTS: tuple[Fault, ...] = (
    *processes.FAULTS,
    *servers.FAULTS,
    *connections.FAULTS,
    *machine.FAULTS,
    *pairs.FAULTS,
)
"""Those of one broker and one database, in the order of the table."""


def named(name: str) -> Fault:
    """Raises LookupError."""
    for fault in FAULTS:
        if fault.name == name:
            return fault
    raise LookupError(f"no fault {name!r}; there are: {', '.join(fault.name for fault in FAULTS)}")
