"""Which process reads which secret of the configuration: only those of its own sections (contract §13).

A process must start without the secrets of others, because a container or a pod holds only its own.
"""

import secrets

ACCOUNTS = "accounts"
POLL = "poll"
"""The table of an account that the poll worker uses; the rest of an account is the ingress's."""
READERS = {
    "api": frozenset({"api"}),
    "subscribers": frozenset({"api"}),
}
"""The kinds of processes that read a section's secrets, by section; `accounts` is divided by `readers`."""

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
