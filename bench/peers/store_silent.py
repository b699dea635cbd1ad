"""Our store worker without publishing events, to measure their cost. Same options as `crossdock worker store`.

python bench/peers/store_silent.py
"""

import sys

from deploy import process
from workers.store.announcer import Announcer
from workers.store.worker import StoreWorker
from workers.store.write import WriteResult


async def _announce_nothing(self: Announcer, written: WriteResult, public_url: str) -> None:
    return


if __name__ == "__main__":
    Announcer.announce = _announce_nothing
    sys.exit(
        process.run(
            "store",
            lambda config: StoreWorker(config, amqp_url=process.amqp_url(), database_url=process.database_url()),
            admin_port=0,
        )
    )
