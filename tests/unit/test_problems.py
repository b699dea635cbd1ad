"""Whatever dies inside a component is named in its `/readyz`, from its death until the process has ended."""

import asyncio
from collections.abc import Callable

import pytest

from broker.connection import BrokerConnection
from broker.publisher import Publisher
from deploy.process import Component
from ingress.hooks.app import IngressApp
from schemas.config import Config
from workers.poll.worker import PollWorker
from workers.route.worker import RouteWorker
from workers.store.worker import StoreWorker

AMQP_URL = "amqp://127.0.0.1:1"
DATABASE_URL = "postgresql://nobody@127.0.0.1:1/nothing"


async def die() -> None:
    raise RuntimeError("broken")


@pytest.mark.parametrize(
    "create",
    [
        lambda: IngressApp(Config(), amqp_url=AMQP_URL),
        lambda: StoreWorker(Config(), amqp_url=AMQP_URL, database_url=DATABASE_URL),
        lambda: RouteWorker(Config(), amqp_url=AMQP_URL),
        lambda: PollWorker(Config(), amqp_url=AMQP_URL, database_url=DATABASE_URL),
    ],
    ids=["ingress", "store", "route", "poll"],
)
async def test_a_dead_task_of_the_publisher_or_of_a_connection_is_a_problem(create: Callable[[], Component]) -> None:
    component = create()
    parts = {name: part for name, part in vars(component).items() if isinstance(part, BrokerConnection | Publisher)}
    assert parts
    for name, part in parts.items():
        part._background._on_death = lambda: None
        await asyncio.wait([part._background.start(die(), name=name)])
    problems = " ".join(component.problems())
    assert [name for name in parts if f"the task {name} died" not in problems] == []
