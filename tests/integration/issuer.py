"""An issuer of JWTs that publishes its keys over https, as OpenID Connect Discovery 1.0 has it: a test's own, on the loopback."""

from __future__ import annotations

import base64
import contextlib
import http.server
import json
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import trustme
from cryptography.hazmat.primitives.asymmetric import ec


@dataclass(frozen=True)
class Issuer:
    """Its address, the key that it signs with (kid 1), and the CA of its own certificate."""

    url: str
    key: ec.EllipticCurvePrivateKey
    ca_file: Path


@contextlib.contextmanager
def publishing(folder: Path) -> Iterator[Issuer]:
    """For the length of a `with` block; the CA's file is in `folder`."""
    key, authority = ec.generate_private_key(ec.SECP256R1()), trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "issuer-ca.pem"))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(key))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield Issuer(f"https://127.0.0.1:{server.server_port}", key, folder / "issuer-ca.pem")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _handler(key: ec.EllipticCurvePrivateKey) -> type[http.server.BaseHTTPRequestHandler]:
    numbers = key.public_key().public_numbers()
    x, y = (base64.urlsafe_b64encode(n.to_bytes(32, "big")).decode().rstrip("=") for n in (numbers.x, numbers.y))
    jwk = {"kty": "EC", "crv": "P-256", "alg": "ES256", "kid": "1", "x": x, "y": y}

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            host = f"https://{self.headers['Host']}"
            body: dict[str, object] = {"keys": [jwk]}
            if self.path == "/.well-known/openid-configuration":
                body = {"issuer": host, "jwks_uri": f"{host}/keys", "response_types_supported": ["id_token"]}
            raw = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *arguments: object) -> None:
            """Not to standard error."""

    return Handler
