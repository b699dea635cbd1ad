"""Expected errors as one line that says what to do. Unexpected errors keep their traceback."""

import errno
import os
import sys

OURS = ("schemas", "telemetry", "broker", "storage", "ingress", "workers", "deploy")
"""Packages whose own errors already have such a line as their text."""
SCHEMA = ("UndefinedTableError", "UndefinedColumnError", "UndefinedFunctionError", "InvalidSchemaNameError")
PREPARED = ("DuplicatePreparedStatementError", "InvalidSQLStatementNameError")
LOGIN = ("InvalidPasswordError", "InvalidAuthorizationSpecificationError", "InvalidCatalogNameError")

NO_WRITES = ("TargetServerAttributeNotMatched", "ReadOnlySQLTransactionError")
NO_WRITES_TEXT = (
    "the server or database of DATABASE_URL takes no writes (a standby, or default_transaction_read_only): name the "
    "primary server, or turn the setting off"
)

WRITING = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EROFS, errno.EBADF})
"""Numbers of errors of a write, to a file or to standard output."""
LIMITS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Numbers of errors of this machine's own limits."""


class CommandError(Exception):
    """A command failed; the text is one line that says what to do. Exit code 1."""


def explain(error: BaseException) -> str | None:
    """Return the line for standard error, or None for an unexpected error."""
    if type(error).__module__.partition(".")[0] in OURS:
        return line(error)
    kind = type(error).__name__
    if kind in NO_WRITES and type(error).__module__.partition(".")[0] == "asyncpg":
        return NO_WRITES_TEXT
    if _is_one_of(error, (("asyncpg", "PostgresError"), ("asyncpg", "InterfaceError"))):
        if kind in SCHEMA:
            return "the database's schema is missing or old: run `crossdock migrate`"
        if kind in PREPARED or "statement pooling mode" in str(error):
            return (
                "PostgreSQL is reached through a pooler that changes servers between transactions: "
                "set pool_mode = session for this database in PgBouncer, or name the server itself in DATABASE_URL"
            )
        if "startup parameter" in str(error) or "unrecognized configuration parameter" in str(error):
            return f"PostgreSQL reports: {line(error)}; remove this parameter from DATABASE_URL"
        if kind in LOGIN:
            return f"PostgreSQL refuses the login: {line(error)}; check DATABASE_URL"
        if kind == "InsufficientPrivilegeError":
            return f"PostgreSQL refuses: {line(error)}; `crossdock roles` shows which role may do what"
        from storage.hints import with_hint

        return f"PostgreSQL reports: {with_hint(line(error))}"
    if _is_one_of(error, (("aiormq.exceptions", "AMQPError"),)):
        from broker.connection import VIRTUAL_HOST, describe

        if VIRTUAL_HOST in describe(error):
            return f"RabbitMQ refuses: {VIRTUAL_HOST}"
        return f"RabbitMQ reports: {line(error)}; check AMQP_URL"
    if isinstance(error, OSError) and error.filename:
        return reason(error)
    if isinstance(error, OSError) and error.errno in WRITING:
        return f"can't write: {reason(error)}"
    if isinstance(error, OSError) and error.errno in LIMITS:
        return reason(error)
    if isinstance(error, OSError | TimeoutError):
        return f"{reason(error)}: check that what it needs is running; `crossdock check` shows details"
    return None


def reason(error: BaseException) -> str:
    """Return why a connection or a file failed, without error numbers: "Connection refused"."""
    if isinstance(error, TimeoutError) and not error.args:
        return "no answer in time"
    if _is_one_of(error, (("ssl", "SSLError"),)):  # its number is not one of the system's
        return f"TLS failed, {(getattr(error, 'reason', None) or line(error)).lower().replace('_', ' ')}"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        text = os.strerror(error.errno)
        return f"{error.filename}: {text}" if error.filename else text
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return line(error)


def line(error: BaseException) -> str:
    """Return the error's text on one line, or the name of its type if it has no text."""
    return " ".join(str(error).split()) or type(error).__name__


def _is_one_of(error: BaseException, names: tuple[tuple[str, str], ...]) -> bool:
    """Compare types by name, because importing their modules would slow every command down."""
    return any(isinstance(error, getattr(sys.modules[module], name)) for module, name in names if module in sys.modules)
