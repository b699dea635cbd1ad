"""Options that several commands have, said once."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Configuration.", show_default="CROSSDOCK_CONFIG or ./crossdock.toml"
    ),
]
State = Annotated[
    Path | None,
    typer.Option(
        "--state", metavar="DIR", help="State folder of `crossdock up`.", show_default="CROSSDOCK_STATE or ./.crossdock"
    ),
]
Port = Annotated[
    int | None,
    typer.Option("--port", metavar="N", min=0, max=65535, help="Port of the webhooks; 0 is a free one."),
]
AdminPort = Annotated[
    int | None,
    typer.Option("--admin-port", metavar="N", min=0, max=65535, help="Port of health and metrics; 0 is a free one."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]
Management = Annotated[
    str | None,
    typer.Option(
        "--management",
        metavar="URL",
        envvar="RABBITMQ_MANAGEMENT_URL",
        show_envvar=False,
        help="RabbitMQ's management API, http://user:password@host:15672; else RABBITMQ_MANAGEMENT_URL.",
    ),
]
