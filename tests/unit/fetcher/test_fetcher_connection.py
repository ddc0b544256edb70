"""HTTP as bytes: what a server may send comes back whole, and whatever else it sends is an HttpError."""

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fetcher.connection import HttpError, Response, Stream

PIECES = st.lists(st.binary(min_size=1, max_size=200), max_size=20)
LIMIT = 1 << 20


def response(content: bytes) -> Response:
    return Response(Stream(io.BytesIO(content)))


def chunked(pieces: list[bytes]) -> bytes:
    body = b"".join(b"%x;name=value\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body + b"0\r\nTrailer: x\r\n\r\n"


@given(PIECES)
def test_a_chunked_body_comes_back_whole(pieces: list[bytes]) -> None:
    found = response(chunked(pieces))
    assert (found.read(LIMIT), found.finished) == (b"".join(pieces), True)


@given(PIECES)
def test_a_chunked_body_comes_back_by_line_wherever_it_was_cut(pieces: list[bytes]) -> None:
    found, lines = response(chunked(pieces)), []
    while line := found.readline(LIMIT):
        lines.append(line)
    assert lines == io.BytesIO(b"".join(pieces)).readlines()


@given(st.binary(max_size=500))
def test_a_body_with_a_length_comes_back_and_the_rest_stays(body: bytes) -> None:
    file = io.BytesIO(b"HTTP/1.1 404 Not Found\r\ncontent-length: %d\r\n\r\n%bnext" % (len(body), body))
    found = Response(Stream(file))
    assert (found.status, found.read(LIMIT), found.finished, file.read()) == (404, body, True, b"next")


@given(st.binary(max_size=500))
def test_a_body_without_a_length_goes_to_the_end_and_ends_the_connection(body: bytes) -> None:
    found = response(b"HTTP/1.1 200 OK\r\n\r\n" + body)
    assert (found.read(LIMIT), found.finished) == (body, False)


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nConnection: Close", b"HTTP/1.0 200 OK"])
def test_a_server_that_closes_is_believed(start: bytes) -> None:
    found = response(start + b"\r\nContent-Length: 2\r\n\r\nok")
    assert (found.read(LIMIT), found.finished) == (b"ok", False)


def test_header_names_have_no_case_and_values_no_edges() -> None:
    assert response(b"HTTP/1.1 429 \r\nRETRY-after: \t 7 \r\n\r\n").headers == {"retry-after": "7"}


@given(st.binary(max_size=300))
def test_whatever_comes_is_a_response_or_an_http_error(content: bytes) -> None:
    for start in (b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"):
        try:
            response(start + content).read(LIMIT)
        except HttpError as error:
            assert len(content) < 8 or content.decode("latin-1") not in str(error)  # noqa: PT017 - both ends are right


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\na: " + b"b" * 70_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcdef\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (LIMIT + 1),
    ],
)
def test_what_is_cut_off_or_wrong_is_an_http_error(content: bytes) -> None:
    with pytest.raises(HttpError):
        response(content).read(LIMIT)


def test_a_line_without_an_end_is_bounded() -> None:
    with pytest.raises(HttpError, match="too long"):
        response(chunked([b"x" * 60] * 20)).readline(1000)
