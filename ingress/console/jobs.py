"""Works off the jobs that operators started (`storage.jobs`), in every console process, one piece after the other.

A piece and its progress are one transaction: a process that is killed leaves nothing half done, and any other carries
on. While the database or the broker is unavailable, the job waits and its piece is tried again.
"""

import asyncio
import logging
from collections.abc import Sequence
from enum import Enum, auto
from functools import partial
from typing import Literal
from uuid import UUID

from asyncpg import Record

from broker.connection import REMOTE_ERRORS
from broker.outgoing import BrokerUnavailableError
from ingress import outbound
from ingress import quarantine as publishing
from ingress.console import audit
from ingress.console.audit import Recorded
from ingress.console.context import Context
from ingress.console.pieces import next_deliveries, next_messages
from ingress.database import BusyError, DatabaseWatch, NotOpenError
from storage import bulk, jobs, quarantine
from storage.database import Connection, Database, explain, is_unavailable
from storage.jobs import Job

log = logging.getLogger("crossdock.console")

PAUSE = 0.5
"""Seconds between two looks for jobs while there are none, or while those that exist have to wait."""
PAUSE_UNAVAILABLE = 1.0
"""Seconds between two attempts while the database is unavailable."""
WAIT = 5.0
"""Maximum seconds that a piece waits for a connection."""
STATEMENT_TIMEOUT = 10.0
"""Seconds for one statement of a piece."""
STOP_CHECK = 0.5
"""Seconds between two looks at whether the job is to stop, while the broker does not answer."""
UNCONFIRMED = "RabbitMQ had not confirmed the last ones, which stay in quarantine although it may have taken them."
"""What is said of a job that is stopped then."""
ANSWER_TIMEOUT = 120.0
"""Seconds to wait for the answer to the delivery that is tried first."""


class _BrokerProblemError(Exception):
    """The broker did not take a piece, which is tried again."""


class _StopAskedError(Exception):
    """The operator stopped the job while the broker did not answer."""


class Outcome(Enum):
    """What came of a look at a job."""

    WORKED = auto()
    WAITING = auto()
    """There is nothing to do at present."""


WORKED, WAITING = Outcome.WORKED, Outcome.WAITING


class JobEngine:
    """Takes jobs in turn, and works off a piece of each."""

    def __init__(self, context: Context, watch: DatabaseWatch, database: Database) -> None:
        """`database`: a connection of its own, so that jobs and pages do not wait for each other."""
        self._context = context
        self._watch = watch
        self._database = database
        self._finished: list[Recorded] = []
        """The jobs that ended, which are announced when their transaction is committed."""
        self._abandoned: set[asyncio.Task[publishing.Published]] = set()
        """Attempts to publish whose outcome nobody waits for any more; kept here until they end."""

    async def run(self) -> None:
        """Work until the task is cancelled."""
        while True:
            try:
                is_idle = await self._round()
                seconds = PAUSE if is_idle else 0.0
            except (NotOpenError, BusyError):
                seconds = PAUSE_UNAVAILABLE
            except Exception as error:
                if not is_unavailable(error):
                    raise
                self._watch.check_soon()
                log.warning("jobs wait for the database", extra={"error": explain(error)})
                seconds = PAUSE_UNAVAILABLE
            await asyncio.sleep(seconds)

    async def _round(self) -> bool:
        """Work off a piece of each job; return whether nothing was done."""
        async with self._watch.connection(self._database, wait_seconds=WAIT) as connection:
            ids = await jobs.open_ids(connection)
            outcomes: list[Outcome] = []
            problem: Exception | None = None
            for id_ in ids:
                self._finished.clear()
                try:
                    outcomes.append(await self._work(connection, id_))
                except Exception as error:  # it may concern this job's statements only
                    problem = error
                else:
                    for recorded in self._finished:
                        audit.announce(recorded)
            if problem is not None:
                raise problem
        return all(outcome is WAITING for outcome in outcomes)

    async def _work(self, connection: Connection, id_: UUID) -> Outcome:
        """Work off one piece. Raises the errors of a database that is unavailable."""
        try:
            async with connection.transaction():
                await connection.execute(f"SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s'")
                job = await jobs.take(connection, id_)
                return WAITING if job is None else await self._piece(connection, job)
        except _BrokerProblemError as error:
            log.warning("a job waits for the broker", extra={"job": str(id_), "error": str(error)})
            await jobs.wait(connection, id_, f"RabbitMQ is unavailable: {error}")
            return WAITING
        except Exception as error:
            if is_unavailable(error):
                raise
            # Nothing but this job is at fault: it must not end the process, which would take it up again.
            log.error("a job failed", extra={"job": str(id_)}, exc_info=error)
            self._finished.clear()
            async with connection.transaction():
                job = await jobs.take(connection, id_)
                if job is not None:
                    await self._finish(connection, job, "failed", "An internal error occurred; the log has it.")
            return WORKED

    async def _piece(self, connection: Connection, job: Job) -> Outcome:
        if job.stop_asked:
            await self._finish(connection, job, "stopped")
            return WORKED
        if job.action == "deliveries.retry":
            return await self._retry(connection, job)
        if job.action == "deliveries.cancel":
            return await self._cancel(connection, job)
        return await self._quarantine(connection, job)

    async def _retry(self, connection: Connection, job: Job) -> Outcome:
        may_send = partial(outbound.may_send, self._context.config)
        if job.tried_id is not None and job.try_first:
            return await self._check_answer(connection, job, job.tried_id)
        things = await next_deliveries(connection, job)
        if job.try_first:
            things = things.first()
            before = await bulk.answer(connection, things.ids[0]) if things.ids else None
        retried = await bulk.retry(connection, things.ids, things.ended, may_send)
        await jobs.advance(
            connection, job, done=len(retried.ids), failed=retried.failed, after=things.after, problem=retried.problem
        )
        if job.try_first and retried.ids:
            await jobs.try_delivery(connection, job, retried.ids[0], 0 if before is None else before.attempts)
            return WAITING
        return await self._end(connection, job, is_last=things.is_last)

    async def _cancel(self, connection: Connection, job: Job) -> Outcome:
        things = await next_deliveries(connection, job)
        cancelled = await bulk.cancel(connection, things.ids)
        await jobs.advance(connection, job, done=len(cancelled), failed=0, after=things.after)
        return await self._end(connection, job, is_last=things.is_last)

    async def _quarantine(self, connection: Connection, job: Job) -> Outcome:
        things = await next_messages(connection, job)
        if job.action == "quarantine.discard":
            discarded = await quarantine.discard_waiting(connection, things.ids)
            await jobs.advance(connection, job, done=len(discarded), failed=0, after=things.after)
            return await self._end(connection, job, is_last=things.is_last)
        try:
            done, problems = await self._publish(connection, job, things.ids)
        except _StopAskedError:
            await self._finish(connection, job, "stopped", UNCONFIRMED)
            return WORKED
        problem = f"RabbitMQ did not take it: {problems[0]}" if problems else None
        await jobs.advance(connection, job, done=done, failed=len(problems), after=things.after, problem=problem)
        return await self._end(connection, job, is_last=things.is_last)

    async def _publish(self, connection: Connection, job: Job, ids: Sequence[UUID]) -> tuple[int, list[str]]:
        """Publish messages; return how many were confirmed, and why others were not.

        Raises _BrokerProblemError, and _StopAskedError if the operator stops the job while the broker does not answer.
        """
        if not ids:
            return 0, []
        rows = await quarantine.lock(connection, ids, again=False)
        sending = asyncio.create_task(self._send(rows), name="publish quarantined messages")
        try:
            while not (await asyncio.wait([sending], timeout=STOP_CHECK))[0]:
                if await jobs.is_stop_asked(connection, job):
                    raise _StopAskedError
        finally:
            if not sending.done():  # to end it may take as long as the broker does not answer
                self._abandoned.add(sending)
                sending.add_done_callback(self._forget)
                sending.cancel()
        published = sending.result()
        await quarantine.mark_all_replayed(connection, published.ids)
        return len(published.ids), [str(error) for error in published.refused.values()]

    async def _send(self, rows: Sequence[Record]) -> publishing.Published:
        """Publish messages that are locked. Raises _BrokerProblemError."""
        context = self._context
        if context.amqp_url is None:
            raise _BrokerProblemError("this console has no AMQP_URL")
        try:
            async with publishing.channel(context.amqp_url) as channel:
                return await publishing.send(channel, rows, context.config.store.shards)
        except (BrokerUnavailableError, *REMOTE_ERRORS, TimeoutError) as error:
            raise _BrokerProblemError(str(error) or type(error).__name__) from error

    def _forget(self, sending: "asyncio.Task[publishing.Published]") -> None:
        self._abandoned.discard(sending)
        if not sending.cancelled():
            sending.exception()  # what became of it does not matter any more

    async def _end(self, connection: Connection, job: Job, *, is_last: bool) -> Outcome:
        if is_last:
            await self._finish(connection, job, "done")
        return WORKED

    async def _check_answer(self, connection: Connection, job: Job, id_: UUID) -> Outcome:
        """Go on if the delivery that was tried first has arrived; stop if it was refused; otherwise wait."""
        answer = await bulk.answer(connection, id_)
        if answer is None or answer.status in ("cancelled", "superseded"):
            await jobs.try_delivery(connection, job, None, None)
            return WORKED
        if answer.status == "delivered":
            await jobs.go_on(connection, job)
            return WORKED
        assert job.tried_at is not None
        if answer.attempts > (job.tried_attempts or 0) or answer.status == "failed":
            what = "its answer was" if answer.status_code else "the outcome was"
            reason = f"the one that was tried first did not arrive: {what} {answer.status_code or answer.outcome}"
        elif not answer.enabled:
            reason = "the subscription is disabled, so that nothing is sent to it"
        elif (job.now - job.tried_at).total_seconds() > ANSWER_TIMEOUT:
            reason = f"the one that was tried first was not answered within {ANSWER_TIMEOUT:.0f} s"
        else:
            return WAITING
        await self._finish(connection, job, "failed", f"Stopped, because {reason}.")
        return WORKED

    async def _finish(
        self,
        connection: Connection,
        job: Job,
        outcome: Literal["done", "stopped", "failed"],
        problem: str | None = None,
    ) -> None:
        done = await jobs.finish(connection, job, outcome, problem)
        if done is not None:
            recorded = Recorded(actor=job.actor, action=job.action, outcome=outcome, subject=job.subject, count=done)
            self._finished.append(recorded)
