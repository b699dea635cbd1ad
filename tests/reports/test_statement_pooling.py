"""PgBouncer with `pool_mode = statement` is refused with the same line as transaction mode."""

from functools import partial

import pytest

from deploy.cli.errors import explain
from schemas.config import Config
from storage import pool as pools
from storage.migrate import migrate
from tests.reports.test_poolers import PROGRAM, REFUSED, Start, pgbouncer, run, says
from tests.support import pipeline
from workers.store.worker import StoreWorker

__all__ = ("pgbouncer",)
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="PgBouncer is not installed")


async def test_statement_mode_is_refused_with_one_line(pgbouncer: Start, database_url: str, amqp_url: str) -> None:
    url = await pgbouncer(database_url, "statement")
    for refused in (lambda: pools.create_pool(url, size=2), lambda: pools.connect(url), lambda: migrate(url)):
        with pytest.raises(pools.UnsupportedPoolerError, match=REFUSED) as error:
            await refused()
        assert REFUSED in (explain(error.value) or "")
    env = {"DATABASE_URL": url, "AMQP_URL": amqp_url}
    code, out = await run("migrate", env=env)
    assert (code, out.count("\n")) == (1, 1), out
    assert REFUSED in out
    code, out = await run("check", env=env)
    assert code == 1
    assert REFUSED in " ".join(out.split())
    worker = StoreWorker(Config(), amqp_url=amqp_url, database_url=url)
    await worker.start()
    try:
        await pipeline.until(partial(says, worker, REFUSED), what="the worker reports the pooler's mode")
    finally:
        await worker.stop()
