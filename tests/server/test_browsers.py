"""Pages in browsers and a server without a key: nothing is posted, and nothing is read."""

import shutil
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from ctxembed.server.browsers import Allowed

CONTEXTUAL = "pplx-embed-context-v1-0.6b"
ASKED = {"model": CONTEXTUAL, "input": [["posted by a page"]]}
PAGE = "http://page.example"


def ask(server, method="POST", path="/v1/contextualizedembeddings", **headers):
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    body = {"json": ASKED} if method == "POST" else {}
    answer = httpx.request(method, f"{server.url}{path}", headers=given, timeout=30, **body)
    if answer.is_error and answer.status_code != 405:
        assert answer.json()["error"]["message"]
    return answer.status_code


PATHS = ["/v1/models", "/health", "/ready", "/metrics", "/openapi.json"]


def test_only_loopback_names_are_hosts(serve):
    server = serve()
    for host in ("localhost", "LOCALHOST:1", "127.0.0.1:8080", "[::1]:8080", "127.1.2.3"):
        assert ask(server, host=host) == 200
    for host in ("evil.example", "evil.example:80", "localhost.evil.example", "10.0.0.1", "[::2]"):
        assert ask(server, host=host) == 403
        assert [ask(server, "GET", path, host=host) for path in PATHS] == [403] * len(PATHS)
    assert len(server.backend.windows) == 5


def test_pages_are_refused_whatever_their_origin(serve):
    server = serve()
    for origin in (PAGE, "null", server.url, "http://localhost:3000"):
        assert ask(server, origin=origin) == 403
        assert ask(server, "GET", "/v1/models", origin=origin) == 403
    assert ask(server, "OPTIONS", origin=PAGE) == 403
    assert not server.backend.windows


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "", None])
def test_the_body_is_said_to_be_json(serve, kind):
    server = serve()
    headers = {} if kind is None else {"content-type": kind}
    answer = httpx.post(f"{server.url}/v1/embeddings", content=b"{}", headers=headers)
    assert answer.status_code == 415
    assert answer.json()["error"]["type"] == "unsupported_media_type"
    assert ask(server, content_type="application/json; charset=utf-8") == 200


def test_hosts_and_origins_can_be_allowed(serve):
    server = serve(allowed=Allowed(["Box.lan"], [PAGE]))
    assert ask(server, host="box.lan:8080", origin=PAGE) == 200
    assert ask(server, host="other.lan") == 403
    assert ask(server, origin="http://other.example") == 403
    asked = {"Origin": PAGE, "Access-Control-Request-Method": "POST"}
    answer = httpx.options(f"{server.url}/v1/embeddings", headers=asked)
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == PAGE
    assert ask(serve(allowed=Allowed(["*"])), host="any.example") == 200


def test_a_server_with_a_key_takes_any_host(serve):
    """A page does not know the key."""
    server = serve(api_key="k")
    assert ask(server, host="box.lan", origin=PAGE, authorization="Bearer k") == 200
    assert ask(server, host="box.lan", origin=PAGE) == 401


SCRIPT = """<!doctype html><body><script>
const url = "%s", body = JSON.stringify(%s);
const ask = async (kind, options) => {
  try {
    const answer = await fetch(url + (options.path ?? "/v1/contextualizedembeddings"), options);
    return `${kind}=${answer.type}/${answer.status}`;
  } catch { return `${kind}=failed`; }
};
const post = (type, mode) => ({method: "POST", mode, body, headers: {"Content-Type": type}});
(async () => {
  const told = [
    await ask("plain", post("text/plain", "no-cors")),
    await ask("json", post("application/json", "cors")),
    await ask("models", {path: "/v1/models"}),
  ];
  document.body.textContent = told.join(" ");
})();
</script>"""


@pytest.fixture
def browse(tmp_path):
    """Open a page that asks a server from elsewhere, in a real browser; return what it saw."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no chromium")

    def seen(url):
        class Page(BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("content-type", "text/html")
                self.end_headers()
                self.wfile.write((SCRIPT % (url, ASKED)).encode())

            def log_message(self, *_):
                pass

        with ThreadingHTTPServer(("127.0.0.1", 0), Page) as pages:
            threading.Thread(target=pages.serve_forever, daemon=True).start()
            flags = "--headless --no-sandbox --disable-gpu --dump-dom --virtual-time-budget=20000"
            resolver = "--host-resolver-rules=MAP *.example 127.0.0.1"
            page = f"http://page.example:{pages.server_port}/"
            command = [program, *flags.split(), resolver, f"--user-data-dir={tmp_path}", page]
            ran = subprocess.run(command, capture_output=True, text=True, timeout=50, check=True)
            pages.shutdown()
        return ran.stdout.partition("<body>")[2].partition("<")[0], page.rstrip("/")

    return seen


def test_a_page_in_a_real_browser(serve, browse):
    server = serve()
    port = server.url.rpartition(":")[2]
    for url in (server.url, f"http://rebound.example:{port}"):
        seen, _ = browse(url)
        # what a page may send without asking is sent, and refused; it can't read even that
        assert seen == "plain=opaque/0 json=failed models=failed"
    assert not server.backend.windows
    counted = httpx.get(f"{server.url}/metrics").text
    assert 'route="/v1/contextualizedembeddings",status="403"' in counted
    assert 'route="/v1/contextualizedembeddings",status="200"' not in counted
