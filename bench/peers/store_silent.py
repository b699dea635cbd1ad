"""Our store worker without publishing events, to measure their cost. Same options as `crossdock worker store`.

python bench/peers/store_silent.py
"""

import sys

from deploy import process
from workers.store.worker import StoreWorker
from workers.store.write import Written


class Silent(StoreWorker):
    async def _announce(self, written: Written) -> None:
        return


if __name__ == "__main__":
    sys.exit(
        process.run(
            "store",
            lambda config: Silent(config, amqp_url=process.amqp_url(), database_url=process.database_url()),
            admin_port=0,
        )
    )
