"""The ceiling of the store: the rows that our worker has just written, written again by COPY into the same tables.

The rows are read, the tables emptied, and the rows written again with the same transaction size and number of
connections as the worker's. Nothing is decoded, looked up, decided or published. asyncpg, uvloop.
python bench/peers/copy_rows.py DATABASE_URL BATCH CONNECTIONS    prints the messages per second
"""

import asyncio
import sys
import time

import asyncpg
import uvloop

TABLES = ("documents", "receipts", "versions")


async def main(url: str, batch: int, connections: int) -> None:
    pool = await asyncpg.create_pool(url, min_size=connections, max_size=connections, server_settings={"jit": "off"})
    rows, columns = {}, {}
    for table in TABLES:
        order = "id" if table == "documents" else "document_id"
        fetched = await pool.fetch(f"SELECT * FROM crossdock.{table} ORDER BY {order}")  # noqa: S608 - ours
        # The database makes the filler, for the worker's rows as well.
        columns[table] = [name for name, _ in fetched[0].items() if name != "filler"]
        rows[table] = [[row[name] for name in columns[table]] for row in fetched]
    await pool.execute("TRUNCATE crossdock.documents, crossdock.receipts, crossdock.versions CASCADE")
    count = len(rows["receipts"])
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
