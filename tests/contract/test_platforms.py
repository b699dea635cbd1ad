"""Every registered platform × every example × every check."""

from collections.abc import Callable

import pytest

from schemas import registry
from schemas.platform import Platform
from tests.contract import checks
from tests.contract.checks import Case


@pytest.mark.parametrize("case", checks.cases(), ids=str)
@pytest.mark.parametrize("check", checks.CHECKS, ids=lambda check: check.__name__)
def test_every_example_passes_every_check(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


@pytest.mark.parametrize("platform", registry.platforms().values(), ids=lambda platform: platform.name)
def test_every_platform_is_well_formed(platform: Platform) -> None:
    checks.well_formed(platform)


def test_event_types_belong_to_one_event() -> None:
    types = [type_ for platform in registry.platforms().values() for event in platform.events for type_ in event.types]
    assert len(types) == len(set(types))
