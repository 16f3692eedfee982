"""`serve` as a process: it listens, loads, drains on SIGTERM, and says why it can't start."""

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

COMMAND = """
import sys, typer
from ctxembed.cli import error_reports
from ctxembed.cli.serve import serve
def run():
    app = typer.Typer(pretty_exceptions_enable=False)
    app.command()(serve)
    try:
        app()
    except Exception as error:
        code = error_reports.exit_code(error, debug=False)
        if code is None:
            raise
        sys.exit(code)
"""
WHOLE = "from ctxembed.cli import main as run\n"
FAKE = """
import os, sys
from ctxembed import embedder
from ctxembed.server.dispatcher import Dispatcher
from ctxembed.server.lifecycle import Lifecycle
from ctxembed.testing import FakeBackend
def tell(event):
    sys.stderr.write(f"event: {event}\\n")
def telling(function, event):
    def wrapper(*args):
        result = function(*args)
        tell(event)
        return result
    return wrapper
def hold(step):
    if step == HELD:
        tell(f"held {step}")
        os.read(0, 1)  # until the test closes the pipe
def opened(settings, api_key=None):
    tell(f"opened {settings.model} {settings.device} {settings.dtype}")
    tell(f"more {settings.revision} {settings.pooling} {settings.overlap_tokens}")
    hold("loading")
    return FakeBackend(fault=lambda batch: hold("embedding"))
embedder.open_backend = opened
Dispatcher.submit = telling(Dispatcher.submit, "queued")
Lifecycle.drain = telling(Lifecycle.drain, "draining")
"""


class Process:
    """A server in a process of its own; its lines on standard error are gathered.

    With `held`, it stops while "loading" or "embedding" until `release` is called.
    """

    def __init__(self, *options, held=None, fake=True, env=None, whole=False):
        code = (WHOLE if whole else COMMAND) + (f"HELD = {held!r}\n{FAKE}" if fake else "")
        options = [*(["serve"] if whole else []), "--port", "0", *options]
        self.popen = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code + "run()", *options],
            stdin=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | (env or {}),
        )
        self.lines = []
        self.ended = False
        self.changed = threading.Condition()
        self.reader = threading.Thread(target=self.read)
        self.reader.start()

    def read(self):
        for line in self.popen.stderr:
            with self.changed:
                self.lines.append(line)
                self.changed.notify_all()
        with self.changed:
            self.ended = True
            self.changed.notify_all()

    def wait_for(self, text, count=1):
        """Wait until so many lines have the text, and return the last one."""

        def found():
            return [line for line in self.lines if text in line]

        with self.changed:
            self.changed.wait_for(lambda: len(found()) >= count or self.ended, 60)
            assert len(found()) >= count, "".join(self.lines)
            return found()[-1]

    def wait_ready(self):
        self.wait_for(" ready: ")
        assert self.get("/ready").status_code == 200

    def release(self):
        self.popen.stdin.close()

    @property
    def url(self):
        return re.match(r"(http://\S+)", self.wait_for("http://"))[1]

    def end(self, timeout=60):
        code = self.popen.wait(timeout)
        self.reader.join()
        self.popen.stderr.close()
        self.popen.stdin.close()
        return code

    def get(self, path):
        return httpx.get(self.url + path)

    def ask(self, text="a", key=None):
        return httpx.post(
            f"{self.url}/v1/embeddings",
            json={"model": "pplx-embed-v1-0.6b", "input": text},
            headers={"Authorization": f"Bearer {key}"} if key else {},
            timeout=60,
        )


@pytest.fixture
def start():
    started = []

    def make(*options, **how):
        started.append(Process(*options, **how))
        return started[-1]

    yield make
    for process in started:
        if process.popen.poll() is None:
            process.popen.kill()
            process.end()


def test_it_listens_while_it_loads_and_is_ready_then(start):
    process = start(held="loading")
    process.wait_for("held loading")
    assert process.get("/health").status_code == 200
    assert process.get("/ready").status_code == 503
    assert process.get("/ready").json() == {"status": "loading"}
    response = process.ask()
    assert response.status_code == 503
    assert response.json()["error"]["type"] == "unavailable"
    assert response.headers["retry-after"] == "5"
    process.release()
    process.wait_ready()
    assert process.ask().status_code == 200


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to send")
def test_sigterm_finishes_what_is_queued_and_takes_no_more(start):
    process = start(held="embedding")
    process.wait_ready()
    with ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(process.ask, f"text {n}") for n in range(8)]
        process.wait_for("held embedding")
        process.wait_for("event: queued", 8)
        process.popen.send_signal(signal.SIGTERM)
        process.wait_for("event: draining")
        process.release()
        assert [answer.result(60).status_code for answer in asked] == [200] * 8
    assert process.end() in (0, -signal.SIGTERM)
    with pytest.raises(httpx.ConnectError):
        process.ask()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGTERM to send")
def test_sigterm_while_loading_ends_it(start):
    process = start(held="loading")
    process.wait_for("held loading")
    assert process.get("/health").status_code == 200
    process.popen.send_signal(signal.SIGTERM)
    process.wait_for("event: draining")
    process.release()
    assert process.end() in (0, -signal.SIGTERM)


def test_weights_that_do_not_load_end_it_with_the_reason(start, tmp_path):
    process = start("--model", str(tmp_path), "--backend", "onnx", fake=False)
    assert process.end() == 2
    assert process.lines[-1].startswith("error: ")
    assert "Traceback" not in "".join(process.lines)


def test_a_port_that_is_taken_ends_it_with_the_reason(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start("--port", str(taken.getsockname()[1]))
        assert process.end() == 2
    assert "in use" in process.lines[-1]
    assert "--port" in process.lines[-1]


def test_the_key_comes_from_the_environment_and_is_nowhere_on_standard_error(start):
    process = start(env={"CTXEMBED_SERVER_KEY": "from-the-environment"})
    process.wait_ready()
    assert process.ask().status_code == 401
    assert process.ask(key="from-the-environment").status_code == 200
    process.popen.terminate()
    process.end()
    assert "from-the-environment" not in "".join(process.lines)
    assert any("POST /v1/embeddings 200" in line for line in process.lines)


def test_an_empty_key_or_alias_and_the_hosted_api_are_refused(start):
    for options in (
        ("--api-key", " "),
        ("--alias", ""),
        ("--backend", "api"),
        ("--dtype", "float16"),
    ):
        process = start(*options)
        assert process.end() == 2
        assert process.lines[-1].startswith("error: ")


def test_listening_beyond_this_machine_without_a_key_is_refused(start):
    process = start("--host", "0.0.0.0")
    process.wait_for("could use a server without a key. Hint: set CTXEMBED_SERVER_KEY, or insist")
    assert process.end() == 2


def test_who_insists_listens_beyond_this_machine_under_any_name(start):
    process = start("--host", "0.0.0.0", "--insecure")
    process.wait_for("anyone who reaches")
    process.wait_for(" ready: ")
    url = process.url.replace("0.0.0.0", "127.0.0.1")
    assert httpx.get(f"{url}/v1/models", headers={"Host": "box.lan"}).status_code == 200
    assert httpx.get(f"{url}/v1/models", headers={"Origin": "http://a.b"}).status_code == 403
    process.popen.terminate()
    process.end()


def test_every_flag_has_its_effect(start):
    """Model, device, dtype reach the model, alias and key the clients, host and port the socket."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
    flags = "--model minilm --device cpu --dtype float32 --alias mine --alias another --api-key k"
    flags += " --revision main --pooling mean --overlap-tokens 9 --window-tokens 100"
    flags += " --context-weight 0.7 --neighbour-weight 0.2 --long-chunks pool"
    process = start("--host", "127.0.0.1", "--port", port, *flags.split())
    process.wait_ready()
    assert process.url == f"http://127.0.0.1:{port}"
    assert "event: opened minilm cpu float32\n" in process.lines
    models = httpx.get(f"{process.url}/v1/models", headers={"Authorization": "Bearer k"}).json()
    assert "event: more main mean 9\n" in process.lines
    assert {"mine", "another"} <= {model["id"] for model in models["data"]}
    for name, value in (("window", 100), ("context", 0.7), ("neighbour", 0.2)):
        kind = "tokens" if name == "window" else "weight"
        assert models["data"][0][f"{name}_{kind}"] == value
    assert process.get("/v1/models").status_code == 401


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send to one process")
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_while_busy_says_stopped_and_nothing_else(start, times):
    process = start(held="embedding", whole=True)
    process.wait_ready()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(process.ask)
        process.wait_for("held embedding")
        before = len(process.lines)
        for time in range(times):
            process.popen.send_signal(signal.SIGINT)
            process.wait_for("event: draining", time + 1)
        if times == 2:
            assert asked.exception(60) or asked.result().status_code == 503
        process.release()
        if times == 1:
            assert asked.result(60).status_code == 200
    assert process.end() == 130
    said = [
        line
        for line in process.lines[before:]
        if not line.startswith("event: ") and not re.search(r" (GET|POST) /", line)
    ]
    assert said == ["stopped\n"]
