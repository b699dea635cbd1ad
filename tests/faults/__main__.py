"""`make faults`: every fault, one at a time, and the table of what was lost."""

import asyncio
import sys

from tests.faults.catalogue import named
from tests.faults.site import site
from tests.faults.trial import run


async def main() -> None:
    async with site() as found:
        for name in sys.argv[1:]:
            row = await run(found, named(name))
            sys.stdout.write(f"{row}\n")
            sys.stdout.flush()


asyncio.run(main())
