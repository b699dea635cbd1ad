"""The usual frameworks: a FastAPI route that publishes through FastStream's broker.

Persistent, mandatory, confirmed by the quorum queue (aio-pika's default underneath); ChannelApe's token is checked
as in ours. uvicorn with uvloop and httptools, no access log.
python bench/peers/faststream_publish.py PORT AMQP_URL EXCHANGE ROUTING_KEY TOKEN_NAME=SECRET
"""

import hmac
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import uvicorn
from fastapi import FastAPI, HTTPException, Request
from faststream.rabbit import ExchangeType, RabbitBroker, RabbitExchange

port, amqp_url, exchange_name, routing_key, token = sys.argv[1:]
name, _, secret = token.partition("=")
broker = RabbitBroker(amqp_url, log_level=50)
exchange = RabbitExchange(exchange_name, type=ExchangeType.TOPIC, durable=True, declare=False)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    await broker.start()
    yield
    await broker.stop()


app = FastAPI(lifespan=lifespan)


@app.post("/{path:path}")
async def hook(request: Request) -> dict[str, str]:
    raw = await request.body()
    if not hmac.compare_digest(request.query_params.get(name, "").encode(), secret.encode()):
        raise HTTPException(401)
    id_ = str(uuid4())
    await broker.publish(
        raw,
        exchange=exchange,
        routing_key=routing_key,
        mandatory=True,
        persist=True,
        message_id=id_,
        content_type=request.headers.get("content-type"),
    )
    return {"id": id_}


if __name__ == "__main__":
    uvicorn.run(
        app, host="127.0.0.1", port=int(port), loop="uvloop", http="httptools", access_log=False, log_level="error"
    )
