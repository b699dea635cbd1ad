"""Two minutes of `make faults`: the most telling faults, and two mutants that must be seen."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.faults.catalogue import named
from tests.faults.site import Site, site
from tests.faults.suite import MUTATIONS, Mutation, mutated
from tests.faults.trial import run

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]  # a whole pipeline is started, and one by each mutant

SELECTION = (
    "SIGKILL of store",
    "SIGKILL of ingress",
    "SIGTERM restart of store",
    "SIGHUP of all: new, broken and old configuration",
    "SIGKILL of RabbitMQ",
    "SIGKILL of PostgreSQL",
    "ingress – rabbitmq cut",
    "confirms to the ingress lost",
    "COMMIT's answer lost",
    "COMMIT's answer lost and store killed",
)
SEEN = ("confirm", "ack")
"""Safeguards that are left out here; `make faults` leaves out each."""


@pytest_asyncio.fixture(scope="module")
async def broken() -> AsyncIterator[Site]:
    """A pipeline of the module's own, since its servers are killed."""
    async with site(seed=1) as place:
        yield place


@pytest.mark.parametrize("name", SELECTION)
async def test_nothing_acknowledged_is_lost(broken: Site, name: str) -> None:
    row = await run(broken, named(name))
    assert row.skipped is None
    assert row.verdict.clean, row
    assert row.recovery is not None, row
    assert row.accepted


@pytest.mark.parametrize(
    "mutation",
    [mutation for mutation in MUTATIONS if mutation.safeguard in SEEN],
    ids=lambda mutation: mutation.safeguard,
)
async def test_a_missing_safeguard_is_detected(mutation: Mutation) -> None:
    result = await mutated(mutation, 2, mutation.safeguard)
    assert result.passed, result.row
    assert result.row.verdict.missing, result.row
