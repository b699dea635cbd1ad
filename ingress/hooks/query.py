"""The request target: its path, and its query string, decoded only if a platform looks into it."""

from urllib.parse import unquote, unquote_plus


def path(target: str) -> str:
    """Return the path of a request target, without the query string.

    Servers must accept the absolute form, `http://host/path`, from clients too (RFC 9112 §3.2.2). Its host would go
    before the `Host` header; neither decides anything here.
    """
    if not target.startswith("/"):
        scheme, separator, rest = target.partition("://")
        if separator and scheme.lower() in ("http", "https"):
            _, slash, found = rest.partition("?")[0].partition("/")
            return slash + found or "/"
    return target.partition("?")[0]


class Query:
    """The query string of a request target."""

    __slots__ = ("_target",)

    def __init__(self, target: str) -> None:
        self._target = target

    def getall(self, key: str, default: list[str], /) -> list[str]:
        """Return every value of a key, in each form that its sender may have meant.

        A secret such as `KBc+fU/5==` is sent percent-encoded by some and as it is by others, so a value counts as it
        stands, with percent escapes decoded, and with `+` for a blank as well.
        """
        query = self._target.partition("?")[2]
        if "#" in query:
            query = query.partition("#")[0]
        if "&" not in query and "%" not in query and "+" not in query:  # most: nothing to take apart or to decode
            name, _, value = query.partition("=")
            return [value] if name == key else default
        found: list[str] = []
        for pair in query.split("&"):
            name, _, value = pair.partition("=")
            if name == key or unquote_plus(name) == key or unquote(name) == key:
                found += _forms(value)
        return found or default


def _forms(value: str) -> list[str]:
    if "%" not in value and "+" not in value:
        return [value]
    return list(dict.fromkeys((value, unquote(value), unquote_plus(value))))
