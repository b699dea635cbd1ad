"""Why RabbitMQ or the connection to it failed, as text for logs, `/readyz` and commands."""

from aiormq.exceptions import AMQPError

VIRTUAL_HOST = (
    "the virtual host in AMQP_URL does not exist, this user may not use it, or its connection limit is reached"
)


def describe(error: BaseException) -> str:
    """Return the error's type and text; for a refused virtual host, what may be wrong with it.

    RabbitMQ answers `Connection.Open` with `Connection.Close` and a reason, of which aiormq keeps only an object's
    address: "Expected one of ['Connection.OpenOk'], got <Connection.Close object at 0x…>".
    """
    if isinstance(error, AMQPError) and "'Connection.OpenOk'" in str(error):
        return f"NOT_ALLOWED: {VIRTUAL_HOST}"
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
