"""A bare worker of RabbitMQ's direct reply-to: sends each request back. aiormq, uvloop.

python bench/peers/bare_reply.py AMQP_URL QUEUE
"""

import asyncio
import sys

import aiormq
import uvloop


async def main(url: str, queue: str) -> None:
    connection = await aiormq.connect(url)
    channel = await connection.channel(publisher_confirms=False)
    await channel.queue_declare(queue, auto_delete=True)

    async def answer(message: aiormq.abc.DeliveredMessage) -> None:
        request = message.header.properties
        properties = aiormq.spec.Basic.Properties(correlation_id=request.correlation_id)
        await channel.basic_publish(message.body, routing_key=request.reply_to or "", properties=properties, wait=False)

    await channel.basic_consume(queue, answer, no_ack=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:3]))
