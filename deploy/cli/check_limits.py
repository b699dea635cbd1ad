"""Numbers of the configuration with which webhooks would be refused, late, or repeated without a pause."""

from collections.abc import Iterator
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from schemas.config import Config

SHORTEST_SECONDS = 0.1
"""Below it a time limit ends before what it limits can have happened."""
MILLISECONDS = 1000
"""From here on a time limit was probably written in milliseconds."""
LONGEST_BATCH_WAIT_SECONDS = 1.0
SHORTEST_INTERVAL_SECONDS = 1.0


def limit_problems(loaded: "Config") -> list[str]:
    """Return one line per number with which webhooks would be refused, late or repeated without a pause."""
    return [*_sizes(loaded), *_time_limits(loaded), *_intervals(loaded), *_ports(loaded)]


def _sizes(loaded: "Config") -> Iterator[str]:
    from schemas import registry
    from schemas.config import parse_size

    body, buffered = parse_size(loaded.ingress.max_body), parse_size(loaded.ingress.max_buffered)
    documented = {
        f"{platform.name} {event.name}": len(registry.example(platform.name, event.examples[0]))
        for platform in registry.platforms().values()
        if loaded.accounts.get(platform.name)
        for event in platform.events
    }
    refused = [f"{event} ({size} bytes)" for event, size in documented.items() if size > body]
    if refused:
        yield (
            f"ingress.max_body = {loaded.ingress.max_body!r} refuses even the examples that platforms document, "
            f'with 413: {", ".join(refused)}; write a larger size, such as the default "4MiB"'
        )
    if buffered < body:
        yield (
            f"ingress.max_buffered = {loaded.ingress.max_buffered!r} is less than max_body = "
            f"{loaded.ingress.max_body!r}, so that larger bodies always get 503: raise it, or lower max_body"
        )


def _time_limits(loaded: "Config") -> Iterator[str]:
    ingress = loaded.ingress
    limits = {
        "ingress.header_timeout": ingress.header_timeout,
        "ingress.body_timeout": ingress.body_timeout,
        "ingress.write_timeout": ingress.write_timeout,
        "ingress.confirm_timeout": ingress.confirm_timeout,
        "delivery.timeout": loaded.delivery.timeout,
        **_answer_limits(loaded),
    }
    for key, seconds in limits.items():
        if seconds < SHORTEST_SECONDS:
            yield f"{key} = {seconds:.15g} seconds are over before anything arrives: write {SHORTEST_SECONDS} or more"
    for key, seconds in {**limits, "process.drain_timeout": loaded.process.drain_timeout}.items():
        if seconds >= MILLISECONDS:
            yield f"{key} = {seconds:.15g} is a number of seconds, not of milliseconds: write {seconds / 1000:.15g}?"
    if ingress.keepalive < SHORTEST_INTERVAL_SECONDS:
        yield (
            f"ingress.keepalive = {ingress.keepalive:.15g} seconds closes connections that senders and load balancers "
            "are about to use again: write more than the load balancer's, or leave it out"
        )


def _answer_limits(loaded: "Config") -> dict[str, float]:
    """Return the seconds that an account's senders wait for a worker's answer, by the setting."""
    from schemas import registry

    return {
        f"accounts.{platform.name}.{name}.{event.reply.timeout_setting}": getattr(settings, event.reply.timeout_setting)
        for platform in registry.platforms().values()
        for event in platform.events
        if event.reply is not None
        for name, settings in loaded.accounts.get(platform.name, {}).items()
    }


def _intervals(loaded: "Config") -> Iterator[str]:
    from deploy.sections import POLL

    intervals = {"delivery.channelape_interval": loaded.delivery.channelape_interval}
    for platform, accounts in loaded.accounts.items():
        for name, settings in accounts.items():
            if (poll := getattr(settings, POLL, None)) is not None:
                intervals[f"accounts.{platform}.{name}.{POLL}.interval"] = poll.interval
    for key, seconds in intervals.items():
        if seconds < SHORTEST_INTERVAL_SECONDS:
            yield f"{key} = {seconds:.15g} seconds calls the other side without a pause: write at least 1"
    if loaded.store.batch_wait > LONGEST_BATCH_WAIT_SECONDS:
        yield (
            f"store.batch_wait = {loaded.store.batch_wait:.15g} seconds is how long every webhook waits for others "
            "before it is stored: write a fraction of a second, such as the default 0.005"
        )


def _ports(loaded: "Config") -> Iterator[str]:
    for section, port in (("ingress", loaded.ingress.port), ("api", loaded.api.port), ("console", loaded.console.port)):
        if port == 0:
            yield f"{section}.port = 0 is another port after each start: write the port that is called, such as 8080"
    from schemas.destinations.addresses import is_loopback

    listening = (
        ("ingress", loaded.ingress.port, loaded.ingress.hosts),
        ("api", loaded.api.port, (loaded.api.host,)),
        ("console", loaded.console.port, (loaded.console.host,)),
    )
    for (name, port, hosts), (other, its_port, its_hosts) in combinations(listening, 2):
        if port == its_port and all(map(is_loopback, (*hosts, *its_hosts))):
            yield f"{name}.port and {other}.port are both {port} on this machine: give each a port of its own"
    last = loaded.admin.port + loaded.ingress.processes - 1
    if loaded.admin.port and last > 65_535:
        yield (
            f"admin.port = {loaded.admin.port} leaves no port for each of the {loaded.ingress.processes} processes of "
            "the ingress: write a lower one"
        )
