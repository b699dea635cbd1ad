"""The ceiling of the ingress: an aiohttp handler that reads the body and answers. uvloop, no access log.

python bench/peers/bare_aiohttp.py PORT
"""

import asyncio
import sys

import uvloop
from aiohttp import web


async def handle(request: web.Request) -> web.Response:
    await request.read()
    return web.Response(body=b'{"id":"01a1fc30-81bf-7d7e-841c-8d000597a034"}', content_type="application/json")


async def main() -> None:
    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(sys.argv[1])).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main())
