"""The usual library: an aiohttp handler that awaits aio-pika's `exchange.publish`.

Persistent, mandatory (a return raises), confirmed by the quorum queue; ChannelApe's token is checked as in ours.
uvloop, no access log.
python bench/peers/aiopika_publish.py PORT AMQP_URL EXCHANGE ROUTING_KEY TOKEN_NAME=SECRET
"""

import asyncio
import hmac
import sys
from uuid import uuid4

import aio_pika
import uvloop
from aiohttp import web


async def main(port: str, amqp_url: str, exchange_name: str, routing_key: str, token: str) -> None:
    name, _, secret = token.partition("=")
    connection = await aio_pika.connect_robust(amqp_url)
    channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
    exchange = await channel.get_exchange(exchange_name, ensure=False)

    async def handle(request: web.Request) -> web.Response:
        raw = await request.read()
        if not hmac.compare_digest(request.query.get(name, "").encode(), secret.encode()):
            return web.Response(status=401)
        id_ = str(uuid4())
        message = aio_pika.Message(
            raw,
            content_type=request.content_type,
            delivery_mode=aio_pika.DeliveryMode.PERSISTENT,
            message_id=id_,
        )
        await exchange.publish(message, routing_key, mandatory=True)
        return web.json_response({"id": id_})

    app = web.Application()
    app.router.add_post("/{path:.*}", handle)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", int(port)).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
