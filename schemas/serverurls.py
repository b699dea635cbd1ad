"""AMQP_URL and DATABASE_URL as environments hold them: with blanks, in quotes, as lists, or with a password that ends
them early.

No text here shows any part of a URL that may be part of a password.
"""

import re

from schemas import invisible

_HOSTS = re.compile(r"(?:(?:\[[^\[\]]*\]|[^:\[\]]*)(?::\d*)?(?:,|$))*")
EXAMPLES = {
    "AMQP_URL": "amqp://user:password@host:5672/vhost",
    "DATABASE_URL": "postgresql://user:password@host:5432/database",
}
_SEVERAL = {
    "AMQP_URL": "amqp://user:password@host1:5672,host2:5672/vhost",
    "DATABASE_URL": "postgresql://user:password@host1:5432,host2:5432/database",
}
_NEXT_URL = re.compile(r"[,;|\s\[][\"']?(?=[a-z][a-z0-9+.-]{0,30}://)", re.IGNORECASE)
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9a-f:.]+\])(?::\d{1,5})?", re.ASCII | re.IGNORECASE)
_PATH = re.compile(r"(?:/[\w/%.-]*)?", re.ASCII)
_SEPARATOR = re.compile(r"[;\s]")
_SEPARATOR_OF_LOGIN = re.compile(r"[@/?#\s]")
"""Characters that a user name and a password do not have, unless it is unclear where they end."""
_HOST_IN_PATH = re.compile(r"[,;] *[\w.-]{1,253}:\d{1,5}(?![^/?,;])", re.ASCII)
LONGEST_USER = 256
"""Characters of a user name; PostgreSQL and RabbitMQ allow fewer."""
_ENCODE = (
    "with special characters of the user name and password percent-encoded (# as %23, / as %2F, ? as %3F, @ as %40)"
)


def checked(name: str, url: str) -> str:
    """Return the URL without blanks at its ends and around the commas between its hosts.

    Raises ValueError if it stands in quotes, if it names several servers in another way than by their hosts, or if a
    character of its password would end the host or the whole URL.
    """
    url = invisible.trimmed(url)
    if url[:1] in ('"', "'", "`", "“", "‘"):
        raise ValueError(f"{name} stands in quotes, which `docker --env-file` keeps: remove them")
    scheme, separator, rest = url.partition("://")
    if not separator:
        return url
    urls = [piece for text in _NEXT_URL.split(f" {url}") if (piece := text.strip(" \t\r\n,;|\"'[]"))]
    if len(urls) == 1:
        urls = [f"{scheme}://{part}" for part in _split_at_logins(rest)]
    if len(urls) > 1:
        raise ValueError(_give_hosts(name, urls))
    if _is_cut(rest):
        raise ValueError(f"{name} can't be read: write {EXAMPLES[name]}, {_ENCODE}")
    authority = re.split(r"[/?]", rest, maxsplit=1)[0]
    path = rest[len(authority) :].partition("?")[0]
    login, at, hosts = authority.rpartition("@")
    listed = [host.strip() for host in hosts.split(",")]
    if (len(listed) > 1 and "" in listed) or _SEPARATOR.search("".join(listed)) or _HOST_IN_PATH.search(path):
        raise ValueError(_give_hosts(name, []))
    login = login.replace("@", "%40")  # only the last one ends a login; drivers disagree about the others
    return f"{scheme}://{login}{at}{','.join(listed)}{rest[len(authority) :]}"


def _split_at_logins(rest: str) -> list[str]:
    """Split `user:password@host1,user:password@host2`, where the user stands before a later host again."""
    login, _, _ = re.split(r"[/?]", rest, maxsplit=1)[0].rpartition("@")
    user, colon, _ = login.partition(":")
    if not colon or "@" not in login or len(user) > LONGEST_USER:
        return [rest]
    return re.split(rf",\s?(?={re.escape(user)}:)", rest)


def _give_hosts(name: str, urls: list[str]) -> str:
    """Return how to write several servers: with their hosts, if these are certain in all `urls`, else an example."""
    return (
        f"{name} names several servers: write scheme, user and password once, and the hosts with commas between them, "
        f"as in {_with_hosts(urls) or _SEVERAL[name]}"
    )


def _with_hosts(urls: list[str]) -> str | None:
    hosts, paths, logins = [], set(), set()
    for url in urls:
        login, at, rest = url.partition("://")[2].rpartition("@")
        host = _HOST.match(rest)
        path = "" if host is None else rest[host.end() :].partition("?")[0]
        if host is None or _PATH.fullmatch(path) is None or _SEPARATOR_OF_LOGIN.search(login):
            return None
        hosts.append(host[0])
        paths.add(path)
        logins.add("user:password@" if at else "")
    paths.discard("")
    if not hosts or len(paths) > 1 or len(logins) > 1:
        return None
    return f"{urls[0].partition('://')[0]}://{logins.pop()}{','.join(hosts)}{''.join(paths)}"


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
