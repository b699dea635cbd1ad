"""A proxy before PostgreSQL that answers any statement with any error.

It speaks enough of the wire protocol (version 3) to put an error in the place of a statement, and leaves both sides in
the state that such an error leaves them in. Where the connection survives the error, the server itself raises it: the
proxy replaces the statement with one that raises the SQLSTATE, so that a transaction is aborted on the server too.
"""

import asyncio
import random
import re
import struct
from contextlib import suppress
from enum import Enum

import asyncpg
import msgspec

SSL_REQUEST, GSS_REQUEST, CANCEL_REQUEST = 80877103, 80877104, 80877102
MESSAGE = "an error of the tests' proxy"


class Statement(Enum):
    """What an error can be the answer to."""

    CONNECT = "connecting"
    BEGIN = "BEGIN"
    COMMIT = "COMMIT"
    QUERY = "a simple query"
    PARSE = "Parse"
    EXECUTE = "Bind and Execute"
    COPY = "the end of COPY"


class Answer(Enum):
    """How a statement is answered."""

    REFUSED = "the statement is not run, and the connection lives on"
    CLOSED = "the statement is not run, and the connection is closed after the error"
    LOST = "the statement is run, its result is withheld, and the connection is closed after the error"


class Trouble(msgspec.Struct, frozen=True):
    """The error that some statements are answered with."""

    sqlstate: str
    statements: frozenset[Statement] = frozenset(Statement)
    answer: Answer = Answer.REFUSED
    probability: float = 1.0
    """Of each statement of these kinds."""
    times: int | None = None
    """How many statements are answered so at most; None: all of them."""


def sqlstates() -> list[str]:
    """Return every SQLSTATE of PostgreSQL's documentation (appendix A) that an error can have, in order.

    `00000` is success. The classes 01 and 02 are included, because a function may raise them as errors.
    """
    classes = [value for value in vars(asyncpg.exceptions).values() if isinstance(value, type)]
    states = {
        state
        for sqlstate_class in classes
        if isinstance(state := getattr(sqlstate_class, "sqlstate", None), str) and len(state) == 5
    }
    return sorted(states - {"00000"})


ROW_CLASSES = ("22", "23", "54")
"""Classes of errors that are about the values of a row."""


def is_about_a_row(sqlstate: str) -> bool:
    """Return whether the error may be the fault of the row that is written."""
    return sqlstate[:2] in ROW_CLASSES


class SqlProxy:
    """Listens on a free port of 127.0.0.1 and passes everything on until it is armed."""

    def __init__(self, host: str, port: int, *, seed: int = 1) -> None:
        """`host` and `port`: where PostgreSQL listens. `seed`: decides which statements a probability selects."""
        self._behind = host, port
        self._random = random.Random(seed)
        self._server: asyncio.Server | None = None
        self._sessions: set[_Session] = set()
        self._trouble: Trouble | None = None
        self._left: int | None = None
        self.answered = 0
        """Statements that were answered with an error so far."""
        self.port = 0

    async def start(self) -> None:
        """Listen on a free port. Raises OSError."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listen no more, and end every connection."""
        if self._server is not None:
            self._server.close()
        for session in list(self._sessions):
            session.abort()

    def arm(self, trouble: Trouble) -> None:
        """Answer with this error from now on. An error on connecting needs new connections: the present ones end."""
        self._trouble, self._left = trouble, trouble.times
        if trouble.statements == {Statement.CONNECT}:
            for session in list(self._sessions):
                session.abort()

    def disarm(self) -> None:
        """Answer no further statement with the error; what has begun is finished."""
        self._trouble = None

    def draw(self, statement: Statement) -> Trouble | None:
        """Return the error that this statement is to be answered with."""
        trouble = self._trouble
        if trouble is None or statement not in trouble.statements or self._random.random() >= trouble.probability:
            return None
        if self._left is not None:
            if not self._left:
                return None
            self._left -= 1
        self.answered += 1
        return trouble

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            behind, server = await asyncio.open_connection(*self._behind)
        except OSError:
            writer.transport.abort()
            return
        session = _Session(self, (reader, writer), (behind, server))
        self._sessions.add(session)
        try:
            await session.run()
        finally:
            self._sessions.discard(session)


Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class _Session:
    """One client's connection and the one to the server behind it."""

    def __init__(self, proxy: SqlProxy, client: Streams, server: Streams) -> None:
        self._proxy = proxy
        self._from_client, self._client = client
        self._from_server, self._server = server
        self._skipping: Trouble | None = None
        """Set while the rest of a batch, up to its Sync, is not passed on."""
        self._raised = False
        """Whether the server was already made to raise the error of the skipped batch, because of a Flush."""
        self._hold_ready = 0
        """How many of the server's next ReadyForQuery the client does not expect."""
        self._commit_failed = False
        """Whether the server must roll back before it counts as ready: a failed COMMIT ends its transaction."""
        self._quiet = False
        """Whether the server's messages are dropped until it is ready: they answer a statement of the proxy."""
        self._lost: Trouble | None = None
        """If set, nothing is passed on; once the server is ready, the client gets this error and is disconnected."""
        self._recode: str | None = None
        """The SQLSTATE that the server's next error gets."""

    def abort(self) -> None:
        """End both connections with a reset."""
        self._client.transport.abort()
        self._server.transport.abort()

    async def run(self) -> None:
        """Return when both connections have ended."""
        try:
            if await self._startup():
                await asyncio.gather(self._out(), self._back())
        except (OSError, asyncio.IncompleteReadError, RuntimeError):
            pass
        finally:
            for writer in (self._client, self._server):
                with suppress(OSError, RuntimeError):
                    writer.close()

    async def _startup(self) -> bool:
        """Return whether a session begins."""
        while True:
            length = await self._from_client.readexactly(4)
            packet = length + await self._from_client.readexactly(struct.unpack("!I", length)[0] - 4)
            code = struct.unpack("!I", packet[4:8])[0]
            if code in (SSL_REQUEST, GSS_REQUEST):
                self._client.write(b"N")
                continue
            if code == CANCEL_REQUEST:
                self._server.write(packet)
                return False
            if trouble := self._proxy.draw(Statement.CONNECT):
                self._client.write(error(trouble.sqlstate))
                return False
            self._server.write(packet)
            return True

    async def _out(self) -> None:
        """Pass on the client's messages, and the end of its stream."""
        while True:
            try:
                kind, body = await _read(self._from_client)
            except asyncio.IncompleteReadError:
                self._server.write_eof()
                return
            self._pass_on(kind, body)
            await self._server.drain()

    def _pass_on(self, kind: bytes, body: bytes) -> None:
        if self._skipping is not None:
            self._skip(kind, self._skipping)
            return
        statement = _statement(kind, body)
        trouble = None if statement is None else self._proxy.draw(statement)
        if statement is None or trouble is None:
            self._server.write(_message(kind, body))
        elif trouble.answer is Answer.CLOSED:
            self._client.write(error(trouble.sqlstate))
            self._client.close()
            self._server.transport.abort()
        elif trouble.answer is Answer.LOST:
            self._lost = trouble
            self._server.write(_message(kind, body))
        elif statement is Statement.COPY:
            self._recode = trouble.sqlstate
            self._server.write(_message(b"f", MESSAGE.encode() + b"\0"))
        elif kind == b"Q":
            self._commit_failed = statement is Statement.COMMIT
            self._server.write(query(raising(trouble.sqlstate)))
        else:
            self._skipping = trouble

    def _skip(self, kind: bytes, trouble: Trouble) -> None:
        """Skip a message of a batch whose statement is not run. The client expects the error after a Flush or Sync."""
        if kind == b"H" and not self._raised:
            self._raised = True
            self._hold_ready += 1
            self._server.write(query(raising(trouble.sqlstate)))
        elif kind == b"S":
            self._server.write(_message(b"S", b"") if self._raised else query(raising(trouble.sqlstate)))
            self._skipping, self._raised = None, False

    async def _back(self) -> None:
        """Pass on the server's messages, and the end of its stream."""
        while True:
            try:
                kind, body = await _read(self._from_server)
            except asyncio.IncompleteReadError:
                if self._client.can_write_eof():
                    self._client.write_eof()
                return
            if self._lost is not None and kind != b"G":  # without its CopyInResponse the client would not go on
                if kind in (b"Z", b"1"):  # ReadyForQuery, or ParseComplete: after a Flush the server is not ready yet
                    self._client.write(error(self._lost.sqlstate))
                    self._client.close()
                    self._server.transport.abort()
                continue
            if kind == b"Z":
                if not self._ready():
                    continue
            elif self._quiet:
                continue
            if kind == b"E" and self._recode is not None:
                self._client.write(error(self._recode, "ERROR"))
                self._recode = None
            else:
                self._client.write(_message(kind, body))
            await self._client.drain()

    def _ready(self) -> bool:
        """Return whether the client must receive this ReadyForQuery."""
        if self._commit_failed:
            self._commit_failed = False
            self._quiet = True
            self._server.write(query("ROLLBACK"))
            return False
        self._quiet = False
        if self._hold_ready:
            self._hold_ready -= 1
            return False
        return True


_BEGIN = re.compile(rb"\s*(?:BEGIN|START TRANSACTION)\b", re.IGNORECASE)
_COMMIT = re.compile(rb"\s*(?:COMMIT|END)\b", re.IGNORECASE)


def _statement(kind: bytes, body: bytes) -> Statement | None:
    """Return what the message asks for; None for messages that no error is the answer to."""
    match kind:
        case b"Q" if _BEGIN.match(body):
            return Statement.BEGIN
        case b"Q" if _COMMIT.match(body):
            return Statement.COMMIT
        case b"Q":
            return Statement.QUERY
        case b"P":
            return Statement.PARSE
        case b"B":
            return Statement.EXECUTE
        case b"c":
            return Statement.COPY
    return None


async def _read(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Return the next message's type and body. Raises IncompleteReadError at the end."""
    head = await reader.readexactly(5)
    return head[:1], await reader.readexactly(struct.unpack("!I", head[1:])[0] - 4)


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!I", len(body) + 4) + body


def query(text: str) -> bytes:
    """Return a simple query."""
    return _message(b"Q", text.encode() + b"\0")


def raising(sqlstate: str) -> str:
    """Return a statement that raises the error."""
    return f"DO $fault$ BEGIN RAISE EXCEPTION USING ERRCODE = '{sqlstate}', MESSAGE = $$ {MESSAGE} $$; END $fault$"


def error(sqlstate: str, severity: str = "FATAL") -> bytes:
    """Return an ErrorResponse of PostgreSQL's protocol."""
    fields = (("S", severity), ("V", severity), ("C", sqlstate), ("M", MESSAGE))
    return _message(b"E", b"".join(f"{name}{text}\0".encode() for name, text in fields) + b"\0")
