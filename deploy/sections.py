"""Which process reads which secret: those of its own sections, and the addresses of its own servers (contract §13).

A process must start without the secrets of others, because a container or a pod holds only its own.
"""

import secrets
from collections.abc import Mapping

ACCOUNTS = "accounts"
POLL = "poll"
"""The table of an account that the poll worker uses; the rest of an account is the ingress's."""
READERS = {
    "api": frozenset({"api", "console"}),
    "operators": frozenset({"console"}),
    "subscribers": frozenset({"api"}),
}
"""The kinds of processes that read a section's secrets, by section; `accounts` is divided by `readers`."""

VARIABLES = {
    "AMQP_URL": frozenset({"ingress", "store", "route", "poll", "console"}),
    "DATABASE_URL": frozenset({"store", "deliver", "api", "poll", "console"}),
    "CROSSDOCK_ENCRYPTION_KEY": frozenset({"deliver", "api", "console"}),
    "CROSSDOCK_CONSOLE_TOKEN": frozenset({"console"}),
    "RABBITMQ_MANAGEMENT_URL": frozenset[str](),  # for commands
}
"""The kinds of processes that need a variable of the environment, by the variables that hold secrets."""

UNREAD = secrets.token_urlsafe(32)
"""Stands for every secret that this process does not read.

It is random, so that a process that used it by mistake would let nobody in.
"""


def readers(path: str) -> frozenset[str]:
    """Return the kinds of processes that read the secret at a path such as `subscribers.boards.password`."""
    section, *rest = path.split(".")
    if section == ACCOUNTS:  # accounts.<platform>.<name>.poll.client_secret
        return frozenset({"poll"}) if rest[2:3] == [POLL] else frozenset({"ingress"})
    return READERS.get(section, frozenset())


def reads(process: str | None, path: str) -> bool:
    """Return whether a kind of process reads the secret at a path; None stands for all processes together."""
    return process is None or process in readers(path)


def environment(
    process: str, variables: Mapping[str, str], secret_variables: Mapping[str, frozenset[str]]
) -> dict[str, str]:
    """Return `variables` without those that hold secrets of other processes only.

    `secret_variables`: the processes that read each variable that the configuration names for a secret.
    """
    owners = {**secret_variables, **VARIABLES}
    return {name: value for name, value in variables.items() if name not in owners or process in owners[name]}
