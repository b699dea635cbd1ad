"""Our store worker with its events left out: what announcing costs. Same options as `crossdock worker store`.

python bench/peers/store_silent.py
"""

import sys

from deploy import process
from workers.store.announcer import Announcer
from workers.store.worker import StoreWorker
from workers.store.write import Written


async def _announce_nothing(self: Announcer, written: Written, public_url: str) -> None:
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
