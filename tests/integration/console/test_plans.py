"""What actions on many things and the pages of quarantine read: an index, and never a whole table."""

import json
import re
from collections.abc import Iterator
from typing import Any

import asyncpg

from storage import sql

INDEXES = {
    ("bulk", "walk_pending"): "outbox_by_time",
    ("bulk", "walk_pending_of_subscription"): "outbox_by_subscription",
    ("bulk", "walk_unsuccessful"): "_status_created_at_id_idx",
    ("bulk", "walk_unsuccessful_of_subscription"): "_status_created_at_id_idx",
    ("bulk", "walk_delivered"): "_created_at_idx",
    ("bulk", "walk_delivered_of_subscription"): "_subscription_id_created_at_idx",
    ("bulk", "walk_of_key"): "_key_idx",
    ("quarantine", "select_open"): "quarantined_open",
    ("quarantine", "rows_open"): "quarantined_open",
    ("quarantine", "rows_dealt_with"): "quarantined_stage",
    ("quarantine", "groups"): "quarantined_open",
    ("quarantine", "last_good"): "documents_account",
    ("quarantine", "acted_on"): "actions_newest",
    ("quarantine", "job_of"): "jobs_newest",
    ("actions", "listing"): "actions_newest",
    ("jobs", "open"): "jobs_open",
    ("jobs", "running"): "jobs_open",
    ("jobs", "newest"): "jobs_newest",
}
"""A part of the name of the index that each query has to read; those of partitions are named after their columns."""


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


async def test_each_query_reads_its_index(database: asyncpg.Connection) -> None:
    await database.execute(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off; "
        "SET plan_cache_mode = force_generic_plan"
    )
    for (file, name), index in INDEXES.items():
        query = sql.query(file, name)
        parameters = ", ".join("NULL" for _ in range(max(map(int, re.findall(r"\$(\d+)", query)), default=0)))
        await database.execute(f"PREPARE {file}_{name} AS {query}")
        call = f"{file}_{name}({parameters})" if parameters else f"{file}_{name}"
        text = await database.fetchval(f"EXPLAIN (FORMAT JSON) EXECUTE {call}")
        plan: dict[str, Any] = json.loads(text)[0]["Plan"]
        scans = [node for node in nodes(plan) if "Relation Name" in node]
        assert not [node["Relation Name"] for node in scans if node["Node Type"] == "Seq Scan"], name
        read = {node.get("Index Name", "") for node in scans}
        assert any(index in used for used in read), (name, read)
