"""What a download over https accepts. The CA is made up; it and the server's certificate last a century."""

import base64
import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import certifi
import pytest

from gemma4_mlx.errors import GemmaError
from gemma4_mlx.media.fetch import fetch, trusted

CA = (
    "MIIBizCCATGgAwIBAgIUClQ6P/be1ITD1GHa06hiJlyWBgEwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHdGVzdCBDQTAgFw0yNjExMjgwNTMw"
    "NDBaGA8yMTI2MTEwNDA1MzA0MFowEjEQMA4GA1UEAwwHdGVzdCBDQTBZMBMGByqGSM49AgEGCCqGSM49AwEHA0IABJlDxhETeCVeEHiK4wMt"
    "wUEgnb7usCevYltEbJGcnzSP/ITibK1FnifGqExvSfPBXGSFgopARjWwhffwJp9GEFejYzBhMB0GA1UdDgQWBBQTwOg+ulCYiSzh5VTbJYtd"
    "Myh98zAfBgNVHSMEGDAWgBQTwOg+ulCYiSzh5VTbJYtdMyh98zAPBgNVHRMBAf8EBTADAQH/MA4GA1UdDwEB/wQEAwIBBjAKBggqhkjOPQQD"
    "AgNIADBFAiEA/pPeavnlqdKO90ntz1A0ayxl2vaaRrMPvVWCnlrxe6MCIGdXuSAyfhHxx8a0/FEvJMnIp/+uwv+AeEi3b2yTJLTQ"
)
"""Self-signed, `openssl req -x509 -newkey ec -subj "/CN=test CA"`."""

SERVER = (
    "MIIBujCCAWCgAwIBAgIUOQDakNzhySqvEoCec4TDPW73tRkwCgYIKoZIzj0EAwIwEjEQMA4GA1UEAwwHdGVzdCBDQTAgFw0yNjExMjgwNTMw"
    "NDFaGA8yMTI2MTEwNDA1MzA0MVowFDESMBAGA1UEAwwJMTI3LjAuMC4xMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAECgihBAR72dqnQWFF"
    "/lwIXXcsnEl/gVwr8TF/CrLHk/KIzKi/Kr+Viy4M+gMRrCDqRYPsXMixQ3t/2SQnZK+ZnaOBjzCBjDAaBgNVHREEEzARhwR/AAABgglsb2Nh"
    "bGhvc3QwHwYDVR0jBBgwFoAUE8DoPrpQmIks4eVU2yWLXTMoffMwHQYDVR0OBBYEFJD/WV6Z0vnVTILX1hR8YSf3FHEuMAkGA1UdEwQCMAAw"
    "DgYDVR0PAQH/BAQDAgeAMBMGA1UdJQQMMAoGCCsGAQUFBwMBMAoGCCqGSM49BAMCA0gAMEUCIQCf0N9HQh4kOaOV1Sx7m+2BizAKnbmW+Ngd"
    "oARanw6s9AIgIkcjz15yrAcI8lmv1iO97Vzavm9cBL4hP5+xztA3+xU="
)
"""Signed by it, for 127.0.0.1 and localhost."""

SERVER_SECRET = (
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgTbOlKgpV/W0Cwv70Ty28vd+KAEl+nuGV1uDr4VYmiAyhRANCAAQKCKEEBHvZ"
    "2qdBYUX+XAhddyycSX+BXCvxMX8KsseT8ojMqL8qv5WLLgz6AxGsIOpFg+xcyLFDe3/ZJCdkr5md"
)
"""The server's part that nobody needs to keep: it protects nothing."""


class Answer(http.server.BaseHTTPRequestHandler):
    """Three bytes for everybody."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "3")
        self.end_headers()
        self.wfile.write(b"abc")

    def log_message(self, *_: object) -> None:
        """Keep quiet."""


def write_pem(path: Path, kind: str, body: str) -> Path:
    path.write_text(f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")
    return path


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "ca.pem"
    path.write_text(ssl.DER_cert_to_PEM_cert(base64.b64decode(CA)))
    return path


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A server over https, on a machine with no certificates but certifi's."""
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "nowhere"))
    certificate = tmp_path / "server.pem"
    certificate.write_text(ssl.DER_cert_to_PEM_cert(base64.b64decode(SERVER)))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, write_pem(tmp_path / "key.pem", "PRIVATE KEY", SERVER_SECRET))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.handle_error = lambda *_: None  # clients that refuse it
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    trusted.cache_clear()
    yield f"https://127.0.0.1:{server.server_port}/a"
    trusted.cache_clear()
    server.shutdown()
    server.server_close()


def download(address: str) -> bytes:
    name, file = fetch(address, max_bytes=1000, seconds=10)
    assert name == address
    file.seek(0)
    return file.read()


def test_certifi_s_certificates_do_where_the_system_has_none(
    address: str, authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(certifi, "where", lambda: str(authority))
    assert download(address) == b"abc"


def test_a_ca_of_one_s_own_counts_beside_them(address: str, authority: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority))
    assert download(address) == b"abc"


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_an_unknown_or_wrong_certificate_is_refused(
    address: str, authority: Path, host: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if host != "127.0.0.1":  # known, but of another host
        monkeypatch.setattr(certifi, "where", lambda: str(authority))
    with pytest.raises(GemmaError, match="the server's certificate was not accepted; SSL_CERT_FILE names a file"):
        download(address.replace("127.0.0.1", host))
