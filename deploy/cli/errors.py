"""Foreseeable trouble in one line that says what to do. What nobody foresaw keeps its traceback."""

import os
import sys

OURS = ("schemas", "telemetry", "broker", "storage", "ingress", "workers", "deploy")
"""Packages whose own errors are written as such a line already."""
SCHEMA = ("UndefinedTableError", "UndefinedColumnError", "UndefinedFunctionError", "InvalidSchemaNameError")
PREPARED = ("DuplicatePreparedStatementError", "InvalidSQLStatementNameError")
LOGIN = ("InvalidPasswordError", "InvalidAuthorizationSpecificationError", "InvalidCatalogNameError")


class Failed(Exception):
    """What can't be done, in one line that says what to do. Exit code 1."""


def explain(error: BaseException) -> str | None:
    """The line for standard error, or None for an error that nobody foresaw."""
    if type(error).__module__.partition(".")[0] in OURS:
        return line(error)
    kind = type(error).__name__
    if _is_one_of(error, (("asyncpg", "PostgresError"), ("asyncpg", "InterfaceError"))):
        if kind in SCHEMA:
            return "the database's schema is missing or old: run `crossdock migrate`"
        if kind in PREPARED:
            return (
                "PostgreSQL is reached through a pooler that changes servers between transactions: "
                "set pool_mode = session for this database in PgBouncer, or name the server itself in DATABASE_URL"
            )
        if "startup parameter" in str(error) or "unrecognized configuration parameter" in str(error):
            return f"PostgreSQL says: {line(error)}; remove what it names from DATABASE_URL"
        if kind in LOGIN:
            return f"PostgreSQL refuses the login: {line(error)}; check DATABASE_URL"
        return f"PostgreSQL says: {line(error)}"
    if _is_one_of(error, (("aiormq.exceptions", "AMQPError"),)):
        return f"RabbitMQ says: {line(error)}; check AMQP_URL"
    if isinstance(error, OSError) and error.filename:
        return reason(error)
    if isinstance(error, OSError | TimeoutError):
        return f"{reason(error)}: check that what it needs is running; `crossdock check` says more"
    return None


def reason(error: BaseException) -> str:
    """Why a connection or a file failed, without numbers: "Connection refused"."""
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        said = os.strerror(error.errno)
        return f"{error.filename}: {said}" if error.filename else said
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return line(error)


def line(error: BaseException) -> str:
    """The error's text on one line; its name if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def _is_one_of(error: BaseException, names: tuple[tuple[str, str], ...]) -> bool:
    """By name: an error can only have been raised if its module is there, and none is imported for this."""
    return any(isinstance(error, getattr(sys.modules[module], name)) for module, name in names if module in sys.modules)
