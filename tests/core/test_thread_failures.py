"""The plugin that fails a test for what goes wrong in its threads: each way of swallowing, once."""

import os
import re
import sys
from pathlib import Path

pytest_plugins = ["pytester"]

PLUGINS = Path(__file__).parents[1] / "plugins"

SWALLOWED = """
import asyncio
import contextlib
import http.client
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest


def run(function):
    thread = threading.Thread(target=function)
    thread.start()
    thread.join()


def wrong():
    assert 1 + 1 == 3


def caught():
    with contextlib.suppress(AssertionError):
        wrong()


@contextlib.contextmanager
def server(answer):
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            answer(self)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.01,))
        thread.start()
        yield made.server_port
        made.shutdown()
        thread.join()


def post(port):
    client = http.client.HTTPConnection("127.0.0.1", port)
    client.request("POST", "/")
    with contextlib.suppress(http.client.HTTPException):
        client.getresponse().read()
    client.close()


def raising(error):
    def answer(handler):
        raise error
    return answer


def test_red_a_thread_ends_by_an_assertion():
    run(wrong)


def test_red_a_thread_swallows_an_assertion():
    run(caught)


def test_red_nobody_reads_the_future():
    with ThreadPoolExecutor(1) as pool:
        pool.submit(wrong)


def test_red_a_handler_fails_and_the_client_tries_again():
    with server(lambda handler: wrong()) as port:
        post(port)
        post(port)


def test_red_a_handler_fails_otherwise():
    with server(raising(KeyError("input"))) as port:
        post(port)


def test_red_an_application_fails_under_its_server():
    try:
        {}["input"]
    except KeyError as error:
        logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=error)


def test_red_a_callback_of_the_loop_fails():
    async def main():
        asyncio.get_running_loop().call_soon({}.__getitem__, "input")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
    asyncio.run(main())


@pytest.fixture
def ends_badly():
    yield
    run(caught)


def test_green_and_red_at_its_end(ends_badly):
    pass


def test_green_a_client_hangs_up():
    with server(raising(ConnectionResetError())) as port:
        post(port)


def test_green_the_main_thread_expects_it():
    with pytest.raises(AssertionError):
        wrong()


def test_green_all_is_well():
    run(lambda: None)
"""


def test_whatever_swallows_it_the_test_is_red(pytester, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(PLUGINS), *sys.path]))
    pytester.makepyfile(SWALLOWED)
    pytester.makeini("[pytest]\nfilterwarnings = error")
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    done = pytester.runpytest_subprocess("-p", "thread_failures", "-rA", timeout=120)

    found = re.findall(r"^(PASSED|FAILED|ERROR) \S+::(\w+)", done.stdout.str(), re.MULTILINE)
    assert sorted(found) == sorted(
        [("ERROR", "test_green_and_red_at_its_end")]
        + [
            ("FAILED" if name.startswith("test_red_") else "PASSED", name)
            for name in re.findall(r"^def (test_\w+)", SWALLOWED, re.MULTILINE)
        ]
    )


def test_this_run_has_it(pytestconfig):
    assert pytestconfig.pluginmanager.hasplugin("thread-failures-of-tests")
