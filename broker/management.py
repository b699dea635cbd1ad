"""A client for RabbitMQ's management API, for what AMQP 0-9-1 cannot do: users, permissions and policies."""

import re
from collections.abc import Mapping
from urllib.parse import quote

import aiohttp
from yarl import URL

from broker.connection import addresses

TIMEOUT = 10.0
LONGEST_HEADER = 64 * 1024
"""Maximum bytes of a header line of an answer; proxies may add long ones."""


class ManagementError(Exception):
    """The management API cannot be used; the text states why and what to do, without any password."""


def vhost_of(url: str) -> str:
    """Return the virtual host that AMQP_URL names."""
    return URL(addresses(url)[0]).path.removeprefix("/") or "/"


class Management:
    """Client for the management API at `url`, such as `http://user:password@host:15672`.

    The user needs the tag `administrator`. The constructor and all methods raise ManagementError.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = URL(url)
        except ValueError:
            parsed = URL()
        is_one_server = "@" not in parsed.path and not any(character in ",;" for character in parsed.host or "")
        if parsed.scheme not in ("http", "https") or not parsed.host or not is_one_server:
            raise ManagementError("the management URL can't be read: write http://user:password@host:15672")
        self._auth = aiohttp.BasicAuth(parsed.user or "guest", parsed.password or "guest")
        self._base = str(parsed.with_user(None).with_password(None).with_query(None)).rstrip("/")

    @property
    def username(self) -> str:
        """The user name that the client logs in with."""
        return str(self._auth.login)

    async def has_user(self, username: str) -> bool:
        """Return whether a user with this name exists."""
        return await self._request("GET", f"/api/users/{quote(username, safe='')}", None) != 404

    async def set_policy(self, vhost: str, name: str, definition: Mapping[str, object]) -> None:
        """Create or replace a policy."""
        await self._request("PUT", f"/api/policies/{quote(vhost, safe='')}/{quote(name, safe='')}", definition)

    async def remove_policy(self, vhost: str, name: str) -> None:
        """Remove a policy if it exists."""
        await self._request("DELETE", f"/api/policies/{quote(vhost, safe='')}/{quote(name, safe='')}", None)

    async def give_reader(self, vhost: str, username: str, password: str, queues: list[str]) -> None:
        """Create a user that may read these queues and do nothing else; an existing user gets the new password."""
        pattern = f"^({'|'.join(map(re.escape, queues))})$"
        user = f"/api/users/{quote(username, safe='')}"
        await self._request("PUT", user, {"password": password, "tags": ""})
        rights = {"configure": "^$", "write": "^$", "read": pattern}
        await self._request("PUT", f"/api/permissions/{quote(vhost, safe='')}/{quote(username, safe='')}", rights)

    async def remove_user(self, username: str) -> None:
        """Remove a user if it exists."""
        await self._request("DELETE", f"/api/users/{quote(username, safe='')}", None)

    async def _request(self, method: str, path: str, body: Mapping[str, object] | None) -> int:
        """Send a request and return its status: below 300, or 404 for GET and DELETE."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            # The path is already encoded; `%2F`, the default virtual host, must not be decoded.
            url = URL(self._base + path, encoded=True)
            async with (
                aiohttp.ClientSession(auth=self._auth, timeout=timeout, max_field_size=LONGEST_HEADER) as session,
                session.request(method, url, json=body) as answer,
            ):
                if answer.status in (401, 403):
                    raise ManagementError(f"{self._base} refuses the login: it takes a user tagged administrator")
                if answer.status >= 300 and not (method in ("DELETE", "GET") and answer.status == 404):
                    text = (await answer.text())[:200]
                    raise ManagementError(f"{self._base} answered {answer.status} to {method} {path}: {text}")
                return answer.status
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = type(error).__name__ if isinstance(error, TimeoutError) else str(error)
            raise ManagementError(
                f"{self._base} can't be reached ({reason}): check the URL, and that rabbitmq_management is enabled"
            ) from None
