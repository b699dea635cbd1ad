"""How many processes, and which part gives out first, by arithmetic from CPU time per message."""

import math

import msgspec

HEADROOM = 0.6
"""Share of a core, or of a queue, that is planned with: the rest is for peaks and for catching up."""
SERVER_CORES = 16
"""Of one RabbitMQ node or one PostgreSQL server, to name the point where one is no longer enough."""
RATES = (1_000, 10_000, 100_000)
"""Webhooks a second."""
CONNECTIONS = 100
"""PostgreSQL's default max_connections."""
STORE_CONNECTIONS, DELIVER_CONNECTIONS = 5, 5
"""Of one process: [store] connections and one more."""


class Costs(msgspec.Struct, frozen=True):
    """Per webhook: CPU microseconds of each process, and what is written. One subscriber a webhook."""

    ingress: float
    store: float
    deliver: float
    rabbitmq_in: float
    """Of RabbitMQ for taking it."""
    rabbitmq_out: float
    """Of RabbitMQ for giving it to a worker, and for its event."""
    postgres_store: float
    postgres_deliver: float
    wal: float
    """Bytes of PostgreSQL's log, for storing it."""
    queue_rate: float
    """Messages a second that one quorum queue took from one connection on this machine."""


class Need(msgspec.Struct, frozen=True):
    """What a rate takes."""

    rate: int
    ingress: int
    store: int
    deliver: int
    shards: int
    """Inbound queues."""
    rabbitmq: float
    """Cores."""
    postgres: float
    """Cores."""
    wal: float
    """Megabytes a second."""
    first: str
    """The server's part that is the fullest."""

    @property
    def connections(self) -> int:
        """To PostgreSQL."""
        return self.store * STORE_CONNECTIONS + self.deliver * DELIVER_CONNECTIONS


def need(rate: int, costs: Costs) -> Need:
    """What `rate` webhooks a second take."""
    rabbitmq = cores(rate, costs.rabbitmq_in + costs.rabbitmq_out)
    postgres = cores(rate, costs.postgres_store + costs.postgres_deliver)
    queue = rate / costs.queue_rate / HEADROOM
    full = {
        "one quorum queue: a single Erlang process": queue,
        f"RabbitMQ's CPU on {SERVER_CORES} cores": rabbitmq / SERVER_CORES,
        f"PostgreSQL's CPU on {SERVER_CORES} cores": postgres / SERVER_CORES,
    }
    first, share = max(full.items(), key=lambda one: one[1])
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
    """Cores that so much work takes, with headroom."""
    return rate * microseconds / 1e6 / HEADROOM


def processes(rate: float, microseconds: float) -> int:
    """Processes, each of them one core at most, and at least one."""
    return max(1, math.ceil(cores(rate, microseconds)))


def steps(found: Need) -> list[str]:
    """What to change for it, in order. Configuration only."""
    made = []
    if found.ingress > 1:
        made.append(
            f"`[ingress] processes = {found.ingress}` (one port, `reuse_port`), or as many machines behind a balancer"
        )
    if found.store > 1 or found.deliver > 1:
        made.append(f"{found.store} × `crossdock worker store`, {found.deliver} × `crossdock worker deliver`")
    if found.shards > 1:
        made.append(f"`[store] shards = {found.shards}`")
    if found.rabbitmq > SERVER_CORES:
        nodes = math.ceil(found.rabbitmq / SERVER_CORES)
        made.append(f"the queues' leaders on a cluster with {nodes} nodes' cores for them: `AMQP_URL` names its hosts")
    if found.connections > CONNECTIONS:
        made.append(f"{found.connections} connections: a larger `max_connections`, or PgBouncer in `DATABASE_URL`")
    if found.postgres > SERVER_CORES:
        servers = math.ceil(found.postgres / SERVER_CORES)
        made.append(f"accounts parted among {servers} databases, each with processes of its own: `DATABASE_URL`")
    return made or ["nothing: one process of each kind"]


def markdown(costs: Costs) -> str:
    """The capacity table, and what to do at each rate."""
    found = [need(rate, costs) for rate in RATES]
    head = ("webhooks/s", *(f"{one.rate:,}" for one in found))
    lines = [
        head,
        ("---",) * len(head),
        ("ingress processes", *(f"{one.ingress}" for one in found)),
        ("store workers", *(f"{one.store}" for one in found)),
        ("deliver workers, one subscriber a webhook", *(f"{one.deliver}" for one in found)),
        ("inbound queues", *(f"{one.shards}" for one in found)),
        ("RabbitMQ, cores", *(f"{one.rabbitmq:.1f}" for one in found)),
        ("PostgreSQL, cores", *(f"{one.postgres:.1f}" for one in found)),
        ("PostgreSQL, log MB/s", *(f"{one.wal:.1f}" for one in found)),
        ("connections to PostgreSQL", *(f"{one.connections}" for one in found)),
        ("gives out first", *(one.first for one in found)),
    ]
    table = "".join(f"| {' | '.join(line)} |\n" for line in lines)
    plans = "".join(f"- **{one.rate:,}/s:** {'; '.join(steps(one))}.\n" for one in found)
    return f"{table}\n{plans}"
