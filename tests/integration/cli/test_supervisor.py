"""A child that dies is started again, and that is said."""

import asyncio
import logging
import os
from pathlib import Path

import pytest

from deploy.local.supervisor import Child, Supervisor


async def test_a_child_that_dies_is_started_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changed = asyncio.Event()
    child = Child("mayfly", (), 0, module="this")  # of the standard library: says its piece and ends
    supervisor = Supervisor([child], os.environ, tmp_path, changed.set)
    with caplog.at_level(logging.WARNING, "crossdock.supervisor"):
        supervisor.start()
        try:
            async with asyncio.timeout(20):
                await changed.wait()
        finally:
            await supervisor.stop(1)
    assert "starting it again" in caplog.text
