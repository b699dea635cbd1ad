"""The usual choice with Flask: a route that hands the body to Celery on RabbitMQ.

Celery messages are persistent by default; `confirm_publish` is on, and its queue is a quorum queue. ChannelApe's token
is checked as in ours. gunicorn runs as its documentation recommends: twice the cores plus one processes, each with
threads, so that several processes are compared with one of ours.
python bench/peers/celery_publish.py PORT AMQP_URL QUEUE TOKEN_NAME=SECRET
"""

import hmac
import os
import sys

from celery import Celery
from flask import Flask, abort, request
from gunicorn.app.base import BaseApplication

THREADS = 8

port, amqp_url, queue, token = sys.argv[1:]
name, _, secret = token.partition("=")
tasks = Celery("shop", broker=amqp_url)
tasks.conf.update(
    broker_transport_options={"confirm_publish": True},
    broker_pool_limit=THREADS,
    task_default_queue=queue,
    task_default_queue_type="quorum",
    task_ignore_result=True,
)
app = Flask(__name__)


@app.post("/<path:path>")
def hook(path: str) -> dict[str, str]:
    raw = request.get_data(as_text=True)
    if not hmac.compare_digest(request.args.get(name, "").encode(), secret.encode()):
        abort(401)
    return {"id": tasks.send_task("store", args=[raw]).id}


class Server(BaseApplication):
    def load_config(self) -> None:
        self.cfg.set("bind", f"127.0.0.1:{port}")
        self.cfg.set("workers", 2 * (os.cpu_count() or 1) + 1)
        self.cfg.set("worker_class", "gthread")
        self.cfg.set("threads", THREADS)
        self.cfg.set("keepalive", 75)
        self.cfg.set("loglevel", "error")

    def load(self) -> Flask:
        return app


if __name__ == "__main__":
    Server().run()
