"""RabbitMQ's management API, for what AMQP 0-9-1 can't do: users and their rights."""

import re
from typing import Any
from urllib.parse import quote

import aiohttp
from yarl import URL

TIMEOUT = 10.0


class ManagementError(Exception):
    """The management API can't be used; the text says why and what to do, and holds no password."""


class Management:
    """`url`: `http://user:password@host:15672`, of a user with the tag `administrator`. Raises ManagementError."""

    def __init__(self, url: str) -> None:
        try:
            parsed = URL(url)
        except ValueError:
            parsed = URL()
        if parsed.scheme not in ("http", "https") or not parsed.host:
            raise ManagementError("the management URL can't be read: write http://user:password@host:15672")
        self._auth = aiohttp.BasicAuth(parsed.user or "guest", parsed.password or "guest")
        self._base = str(parsed.with_user(None).with_password(None).with_query(None)).rstrip("/")

    async def give_reader(self, vhost: str, username: str, password: str, queues: list[str]) -> None:
        """A user that may read these queues and do nothing else. One that was there gets the new password."""
        pattern = f"^({'|'.join(map(re.escape, queues))})$"
        user = f"/api/users/{quote(username, safe='')}"
        await self._ask("PUT", user, {"password": password, "tags": ""})
        rights = {"configure": "^$", "write": "^$", "read": pattern}
        await self._ask("PUT", f"/api/permissions/{quote(vhost, safe='')}/{quote(username, safe='')}", rights)

    async def remove_user(self, username: str) -> None:
        """It isn't there afterwards."""
        await self._ask("DELETE", f"/api/users/{quote(username, safe='')}", None)

    async def _ask(self, method: str, path: str, body: dict[str, Any] | None) -> None:
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        try:
            # The path is encoded already, and `%2F`, the default virtual host, must stay so.
            url = URL(self._base + path, encoded=True)
            async with (
                aiohttp.ClientSession(auth=self._auth, timeout=timeout) as session,
                session.request(method, url, json=body) as answer,
            ):
                if answer.status in (401, 403):
                    raise ManagementError(f"{self._base} refuses the login: it takes a user tagged administrator")
                if answer.status >= 300 and not (method == "DELETE" and answer.status == 404):
                    said = (await answer.text())[:200]
                    raise ManagementError(f"{self._base} answered {answer.status} to {method} {path}: {said}")
        except (aiohttp.ClientError, TimeoutError) as error:
            reason = type(error).__name__ if isinstance(error, TimeoutError) else str(error)
            raise ManagementError(
                f"{self._base} can't be reached ({reason}): check the URL, and that rabbitmq_management is enabled"
            ) from None
