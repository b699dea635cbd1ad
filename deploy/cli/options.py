"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

ConfigFile = Annotated[
    Path | None,
    typer.Option(
        "--config", metavar="FILE", help="Configuration file.", show_default="CROSSDOCK_CONFIG or ./crossdock.toml"
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
    typer.Option("--port", metavar="N", min=0, max=65535, help="Port for webhooks; 0 chooses a free one."),
]
AdminPort = Annotated[
    int | None,
    typer.Option(
        "--admin-port", metavar="N", min=0, max=65535, help="Port for health checks and metrics; 0 chooses a free one."
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Management = Annotated[
    str | None,
    typer.Option(
        "--management",
        metavar="URL",
        envvar="RABBITMQ_MANAGEMENT_URL",
        show_envvar=False,
        help="URL of RabbitMQ's management API; by default RABBITMQ_MANAGEMENT_URL.",
    ),
]
