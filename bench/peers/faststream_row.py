"""The simplest store: a FastStream subscriber on a quorum queue that inserts a row per message.

Prefetch 300 (the number of concurrent handlers), acked after the insert, an asyncpg pool of ten, uvloop.
python bench/peers/faststream_row.py AMQP_URL DATABASE_URL QUEUE
"""

import asyncio
import json
import sys
from typing import Any

import asyncpg
import uvloop
from faststream import AckPolicy
from faststream.rabbit import Channel, QueueType, RabbitBroker, RabbitQueue

CONNECTIONS = 10


async def main() -> None:
    amqp_url, database_url, name = sys.argv[1:4]
    pool = await asyncpg.create_pool(database_url, min_size=CONNECTIONS, max_size=CONNECTIONS)
    broker = RabbitBroker(amqp_url, default_channel=Channel(prefetch_count=300), log_level=50)
    queue = RabbitQueue(name, durable=True, queue_type=QueueType.QUORUM, declare=False)

    @broker.subscriber(queue, ack_policy=AckPolicy.REJECT_ON_ERROR)
    async def insert(body: dict[str, Any]) -> None:
        await pool.execute(
            "INSERT INTO bench_rows (id, key, body) VALUES (gen_random_uuid(), $1, $2::jsonb)",
            str(body.get("id")),
            json.dumps(body),
        )

    await broker.start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
