"""Computes from CPU time per message how many processes a rate needs, and which part is exhausted first."""

import math

import msgspec

HEADROOM = 0.6
"""Planned share of a core or a queue; the rest is for peaks and for catching up."""
SERVER_CORES = 16
"""Cores of one RabbitMQ node or PostgreSQL server, to find the rate at which one is no longer enough."""
RATES = (1_000, 10_000, 100_000)
"""Webhooks per second that the table has a line for."""
CONNECTIONS = 100
"""PostgreSQL's default of `max_connections`."""
STORE_CONNECTIONS, DELIVER_CONNECTIONS = 7, 5
"""Connections of one process: [store] connections and up to three for jobs; those of deliveries and one more."""


class Costs(msgspec.Struct, frozen=True):
    """Costs per webhook with one subscriber: CPU microseconds of each process, and bytes written."""

    ingress: float
    store: float
    deliver: float
    rabbitmq_in: float
    """CPU microseconds of RabbitMQ to accept it."""
    rabbitmq_out: float
    """CPU microseconds of RabbitMQ to hand it to a worker, and for its event."""
    postgres_store: float
    postgres_deliver: float
    wal: float
    """Bytes of PostgreSQL's log to store it."""
    queue_rate: float
    """Messages per second that one quorum queue took from one connection on this machine."""


class Need(msgspec.Struct, frozen=True):
    """The resources that a rate needs."""

    rate: int
    ingress: int
    store: int
    deliver: int
    shards: int
    """Number of inbound queues."""
    rabbitmq: float
    """Cores that RabbitMQ needs."""
    postgres: float
    """Cores that PostgreSQL needs."""
    wal: float
    """Megabytes of PostgreSQL's log per second."""
    first: str
    """The part of the servers that is exhausted first."""

    @property
    def connections(self) -> int:
        """Return how many connections to PostgreSQL all processes need."""
        return self.store * STORE_CONNECTIONS + self.deliver * DELIVER_CONNECTIONS


def need(rate: int, costs: Costs) -> Need:
    """Return what `rate` webhooks per second need."""
    rabbitmq = cores(rate, costs.rabbitmq_in + costs.rabbitmq_out)
    postgres = cores(rate, costs.postgres_store + costs.postgres_deliver)
    queue = rate / costs.queue_rate / HEADROOM
    full = {
        "one quorum queue: a single Erlang process": queue,
        f"RabbitMQ's CPU on {SERVER_CORES} cores": rabbitmq / SERVER_CORES,
        f"PostgreSQL's CPU on {SERVER_CORES} cores": postgres / SERVER_CORES,
    }
    first, share = max(full.items(), key=lambda item: item[1])
    return Need(
        rate,
        processes(rate, costs.ingress),
        processes(rate, costs.store),
        processes(rate, costs.deliver),
        max(1, math.ceil(queue)),
        rabbitmq,
        postgres,
        rate * costs.wal / 1e6,
        f"{first} ({share:.0%} of what is planned with)",
    )


def cores(rate: float, microseconds: float) -> float:
    """Return the cores that the work needs, with headroom."""
    return rate * microseconds / 1e6 / HEADROOM


def processes(rate: float, microseconds: float) -> int:
    """Return the number of processes, each using at most one core; at least one."""
    return max(1, math.ceil(cores(rate, microseconds)))


def steps(required: Need) -> list[str]:
    """Return the configuration changes for it, in order."""
    changes = []
    if required.ingress > 1:
        changes.append(
            f"`[ingress] processes = {required.ingress}` (one port, `reuse_port`), "
            "or as many machines behind a balancer"
        )
    if required.store > 1 or required.deliver > 1:
        changes.append(f"{required.store} × `crossdock worker store`, {required.deliver} × `crossdock worker deliver`")
    if required.shards > 1:
        changes.append(f"`[store] shards = {required.shards}`")
    if required.rabbitmq > SERVER_CORES:
        nodes = math.ceil(required.rabbitmq / SERVER_CORES)
        changes.append(
            f"the queues' leaders on a cluster with {nodes} nodes' cores for them: `AMQP_URL` names its hosts"
        )
    if required.connections > CONNECTIONS:
        changes.append(
            f"{required.connections} connections: a larger `max_connections`, or PgBouncer in `DATABASE_URL`"
        )
    if required.postgres > SERVER_CORES:
        servers = math.ceil(required.postgres / SERVER_CORES)
        changes.append(f"accounts parted among {servers} databases, each with processes of its own: `DATABASE_URL`")
    return changes or ["nothing: one process of each kind"]


def markdown(costs: Costs) -> str:
    """Return the capacity table, and what to change at each rate."""
    needs = [need(rate, costs) for rate in RATES]
    head = ("webhooks/s", *(f"{required.rate:,}" for required in needs))
    lines = [
        head,
        ("---",) * len(head),
        ("ingress processes", *(f"{required.ingress}" for required in needs)),
        ("store workers", *(f"{required.store}" for required in needs)),
        ("deliver workers, one subscriber per webhook", *(f"{required.deliver}" for required in needs)),
        ("inbound queues", *(f"{required.shards}" for required in needs)),
        ("RabbitMQ, cores", *(f"{required.rabbitmq:.1f}" for required in needs)),
        ("PostgreSQL, cores", *(f"{required.postgres:.1f}" for required in needs)),
        ("PostgreSQL, log MB/s", *(f"{required.wal:.1f}" for required in needs)),
        ("connections to PostgreSQL", *(f"{required.connections}" for required in needs)),
        ("gives out first", *(required.first for required in needs)),
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    plans = "".join(f"- **{required.rate:,}/s:** {'; '.join(steps(required))}.\n" for required in needs)
    return f"{table}\n{plans}"
