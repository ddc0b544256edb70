"""HTTP/1.1 GET over TLS, as little as the API server needs (RFC 9112), because `http.client` costs a start 16 ms.

It imports the whole of `email` to read headers: a third of what all the fetcher's imports take. `api` is the only user.
"""

import io
import re
import socket
import ssl
from collections.abc import Iterator, Mapping

_MAX_LINE = 65536
_MAX_HEADERS = 200
_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([0-9]{3})(?: [^\r\n]*)?\r?\n")
_HEADER = re.compile(rb"([!#-'*+.0-9A-Z^-z|~-]+):[ \t]*([^\r\n]*?)[ \t]*\r?\n")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})[ \t]*(?:;[^\r\n]*)?\r?\n")


class HttpError(Exception):
    """What came is no HTTP/1.1, or ends too early, or is too long. The message quotes nothing of it."""


class Stream:
    """What is read from a connection, in the portions that HTTP has."""

    def __init__(self, file: io.BufferedIOBase) -> None:
        self._file = file

    def line(self) -> bytes:
        """Return the next line with its end."""
        line = self._file.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise HttpError("the connection ended within a line, or the line is too long")
        return line

    def exactly(self, size: int) -> bytes:
        """Return the next `size` bytes."""
        content = self._file.read(size)
        if len(content) != size:
            raise HttpError("the connection ended within a body")
        return content

    def some(self) -> bytes:
        """Return what comes next, b"" at the end of the connection."""
        return self._file.read1(_MAX_LINE)


class Connection:
    """One TLS connection. Everything raises OSError (ssl.SSLError and TimeoutError among them) or HttpError."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, timeout: float) -> None:
        """Connect within `timeout` seconds for each step; `host` is a name or an address, and the certificate's name."""
        plain = socket.create_connection((host, port), timeout)
        try:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            _keep_alive(plain)
            self._socket = context.wrap_socket(plain, server_hostname=host)
        except BaseException:
            plain.close()
            raise
        self._file = self._socket.makefile("rb")
        self._host = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def get(self, path: str, headers: Mapping[str, str], timeout: float) -> "Response":
        """Send GET `path` and return the response once its headers are there; each read may take `timeout` seconds."""
        lines = [
            f"GET {path} HTTP/1.1",
            f"Host: {self._host}",
            *(f"{name}: {value}" for name, value in headers.items()),
        ]
        self._socket.settimeout(timeout)
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        return Response(Stream(self._file))

    def close(self) -> None:
        """Close the connection."""
        self._file.close()
        self._socket.close()


def _keep_alive(plain: socket.socket) -> None:
    """Have the kernel notice within half a minute that the other end is gone without a word, as in a long watch."""
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (("TCP_KEEPIDLE", 15), ("TCP_KEEPINTVL", 5), ("TCP_KEEPCNT", 3)):
        if hasattr(socket, name):  # Linux has all
            plain.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


class Response:
    """A status, headers (names in lower case), and a body that is read by whole or by line.

    `finished` is true when the body is read and the connection can serve another request.
    """

    def __init__(self, stream: Stream) -> None:
        """Read status and headers from `stream`; raises HttpError."""
        self._stream = stream
        start = _STATUS_LINE.fullmatch(stream.line())
        if start is None:
            raise HttpError("no status line")
        self.status = int(start[2])
        self.headers = self._read_headers()
        self._keeps_open = start[1] == b"1" and self.headers.get("connection", "").lower() != "close"
        self._pieces = self._body()
        self._rest = b""
        self.finished = False

    def read(self, limit: int) -> bytes:
        """Return the whole body, at most `limit` bytes."""
        pieces, size = [], 0
        for piece in self._pieces:
            pieces.append(piece)
            size += len(piece)
            if size > limit:
                raise HttpError("the body is too long")
        return b"".join(pieces)

    def readline(self, limit: int) -> bytes:
        """Return the next line of the body (what follows the last newline counts as one); b"" at its end."""
        while b"\n" not in self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                line, self._rest = self._rest, b""
                return line
            self._rest += piece
            if len(self._rest) > limit:
                raise HttpError("a line of the body is too long")
        line, newline, self._rest = self._rest.partition(b"\n")
        return line + newline

    def _read_headers(self) -> dict[str, str]:
        headers: dict[str, str] = {}
        for _ in range(_MAX_HEADERS):
            line = self._stream.line()
            if line in {b"\r\n", b"\n"}:
                return headers
            header = _HEADER.fullmatch(line)
            if header is None:
                raise HttpError("a line among the headers is none")
            headers[header[1].decode("ascii").lower()] = header[2].decode("latin-1")
        raise HttpError("too many headers")

    def _body(self) -> Iterator[bytes]:
        length = self.headers.get("content-length")
        if self.headers.get("transfer-encoding", "").lower() == "chunked":
            yield from self._chunks()
        elif length is not None:
            if not re.fullmatch("[0-9]{1,8}", length):
                raise HttpError("the length of the body is no number, or too large")
            yield self._stream.exactly(int(length))
        else:
            self._keeps_open = False
            yield from iter(self._stream.some, b"")
        self.finished = self._keeps_open

    def _chunks(self) -> Iterator[bytes]:
        while True:
            head = _CHUNK.fullmatch(self._stream.line())
            if head is None:
                raise HttpError("the head of a chunk is none")
            size = int(head[1], 16)
            if size == 0:
                self._read_headers()  # trailers, usually none
                return
            yield self._stream.exactly(size)
            if self._stream.line() not in {b"\r\n", b"\n"}:
                raise HttpError("a chunk is longer than it says")
