"""The ceiling of the store: the rows that our worker has just written, once more, by COPY into the same tables.

They are read back, the tables emptied, and written again in transactions of as many messages and on as many connections
as the worker has: nothing is decoded, looked for, decided or announced. asyncpg, uvloop.
python bench/peers/copy_rows.py DATABASE_URL BATCH CONNECTIONS    prints the messages a second
"""

import asyncio
import sys
import time

import asyncpg
import uvloop

TABLES = ("documents", "receipts", "versions")


async def main(url: str, batch: int, connections: int) -> None:
    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections, server_settings={"jit": "off"})
    rows = {}
    for table in TABLES:
        order = "id" if table == "documents" else "document_id"
        rows[table] = await pool.fetch(f"SELECT * FROM crossdock.{table} ORDER BY {order}")  # noqa: S608 - ours
    await pool.execute("TRUNCATE crossdock.documents, crossdock.receipts, crossdock.versions CASCADE")
    count = len(rows["receipts"])
    columns = {table: list(fetched[0].keys()) for table, fetched in rows.items()}
    starts = iter(range(0, count, batch))

    async def copy() -> None:
        for start in starts:
            async with pool.acquire() as connection, connection.transaction():
                for table in TABLES:
                    records = rows[table][start : start + batch]
                    await connection.copy_records_to_table(
                        table, schema_name="crossdock", columns=columns[table], records=records
                    )

    started = time.perf_counter()
    await asyncio.gather(*(copy() for _ in range(connections)))
    print(count / (time.perf_counter() - started))
    await pool.close()


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
