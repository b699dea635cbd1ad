"""A connection that cannot be established leaves nothing behind."""

import asyncio
import gc
import warnings

from broker.connection import connect


async def test_a_node_that_does_not_answer_leaves_no_coroutine_behind() -> None:
    gc.collect()  # what other tests have left behind
    accepted = asyncio.Event()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted.set()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    attempt = asyncio.create_task(connect(f"amqp://guest:guest@127.0.0.1:{port}/"))
    await accepted.wait()
    attempt.cancel()
    await asyncio.wait([attempt])
    assert attempt.cancelled()
    del attempt
    server.close()
    tasks = asyncio.all_tasks()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gc.collect()
    assert asyncio.all_tasks() - tasks == set()  # the library's destructor would have started one
