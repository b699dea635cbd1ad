"""The ceiling of delivery: an aiohttp client that posts one body repeatedly and reads the answers. uvloop.

python bench/peers/bare_client.py URL COUNT CONNECTIONS < body    prints the rate
"""

import asyncio
import sys
import time

import aiohttp
import uvloop


async def main(url: str, count: int, connections: int, body: bytes) -> None:
    left = count

    async def post(session: aiohttp.ClientSession) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            async with session.post(url, data=body, headers={"Content-Type": "application/json"}) as answer:
                await answer.read()

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections)) as session:
        started = time.perf_counter()
        await asyncio.gather(*(post(session) for _ in range(connections)))
        print(count / (time.perf_counter() - started))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.stdin.buffer.read()))
