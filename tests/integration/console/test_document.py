"""The page of one document: its whole life, what changed, and the personal data that it hides."""

import re
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest

from schemas import registry
from schemas.allocation import ItemAllocation
from storage import actions, erasure
from tests.contract import checks
from tests.support import erasing, transfers
from tests.support.console import READ, Client, console
from tests.support.delivering import store
from tests.support.receiver import subscribe
from tests.support.storing import at, incoming
from workers.store import isolate

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"


async def path_of(pool: asyncpg.Pool, key: str, type_: str | None = None) -> str:
    """Return the path of a document's page."""
    id_ = await pool.fetchval(
        "SELECT id FROM crossdock.documents WHERE key = $1 AND ($2::text IS NULL OR type = $2)", key, type_
    )
    return f"/console/documents/{id_}"


async def test_every_example_has_a_page_at_two_addresses(pool: asyncpg.Pool, database_url: str, fifth: str) -> None:
    cases = checks.cases()
    batch = [
        incoming(case.platform.name, case.event.name, case.raw, account=case.example, seconds=n)
        for n, case in enumerate(cases)
    ]
    await isolate.write_isolating(pool, batch)
    async with console(database_url) as client:
        for case in cases:
            expected = case.expected
            page = await client.get(
                f"/console/documents?platform={case.platform.name}&account={case.example}"
                f"&type={expected['type']}&key={expected['key'].replace('/', '%2F')}"
            )
            assert page.status == 200, page.text
            assert "Received once, 1 version. No subscription receives it." in page.text
            for article in (
                expected.get("articles", []) if expected["type"] != "channelape.receipt_confirmation" else []
            ):
                assert article in page.text
            for flag in expected.get("flags", []):
                assert flag in page.text
            short = re.search(r'action="(/console/documents/\d+)/erase"', page.html)
            assert short is not None
            assert expected["key"] in (await client.get(short[1])).text
