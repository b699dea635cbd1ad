"""AMQP_URL and DATABASE_URL as environments hold them: with blanks, in quotes, or with a password that ends them early.

No text here shows any part of a URL, because it holds a password.
"""

import re

from schemas import invisible

_HOSTS = re.compile(r"(?:(?:\[[^\[\]]*\]|[^:\[\]]*)(?::\d*)?(?:,|$))*")
EXAMPLES = {
    "AMQP_URL": "amqp://user:password@host:5672/vhost",
    "DATABASE_URL": "postgresql://user:password@host:5432/database",
}
_ENCODE = (
    "with special characters of the user name and password percent-encoded (# as %23, / as %2F, ? as %3F, @ as %40)"
)


def checked(name: str, url: str) -> str:
    """Return the URL without blanks at its ends.

    Raises ValueError if it stands in quotes, or if a character of its password would end the host or the whole URL.
    """
    url = invisible.trimmed(url)
    if url[:1] in ('"', "'", "`", "“", "‘"):
        raise ValueError(f"{name} stands in quotes, which `docker --env-file` keeps: remove them")
    _, separator, rest = url.partition("://")
    if separator and _is_cut(rest):
        raise ValueError(f"{name} can't be read: write {EXAMPLES[name]}, {_ENCODE}")
    return url


def _is_cut(rest: str) -> bool:
    """Whether the user and password don't end before the host, in what follows the scheme."""
    if "#" in rest:
        return True
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    path, _, query = rest[len(authority) :].partition("?")
    login, at, _ = authority.rpartition("@")
    if "@" in path or any(character in "[]" or character.isspace() for character in login):
        return True
    return not at and "@" in query and _HOSTS.fullmatch(authority) is None
