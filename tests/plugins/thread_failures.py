"""A failed assertion in any thread of a test fails that test, even where something swallows it.

pytest reports what ends a thread, and `filterwarnings = ["error"]` makes that a failure. Much is
swallowed before it ends a thread: an HTTP server catches what its handler raises and the client
tries again, a model's queue hands the exception to a future that nobody reads, an event loop logs
it. This plugin collects four kinds, and fails the test that was running:

- a failed assertion of a test or plugin outside the main thread, as it is raised;
- what a handler of `socketserver` or `http.server` raises, apart from a connection that was cut;
- an exception that an asyncio loop logs because nobody took it;
- an exception that leaves an application under uvicorn.
"""

import logging
import socketserver
import sys
import threading
import traceback

import pytest
from _pytest.assertion import rewrite

_LOGGERS = ("asyncio", "uvicorn.error")


class Failures:
    """What has gone wrong in threads since the last time that somebody asked."""

    def __init__(self):
        self._lock = threading.Lock()
        self._texts = []

    def add(self, kind, text):
        """Remember a failure, with the name of its thread."""
        with self._lock:
            self._texts.append(f"{kind} in thread {threading.current_thread().name}:\n{text}")

    def take(self):
        """Return everything that was added, as one text, and forget it."""
        with self._lock:
            texts, self._texts = self._texts, []
        return "\n".join(texts)


class FromLogs(logging.Handler):
    """Takes the exceptions that a library logs and does not raise."""

    def __init__(self, failures):
        super().__init__(logging.ERROR)
        self._failures = failures

    def emit(self, record):
        if record.exc_info and record.exc_info[1] is not None:
            text = "".join(traceback.format_exception(record.exc_info[1]))
            self._failures.add(record.getMessage().splitlines()[0], text)


class ThreadFailures:
    """The plugin: listens for the whole run, and asks after each phase of a test."""

    def __init__(self):
        self.failures = Failures()
        self._patch = pytest.MonkeyPatch()
        self._from_logs = FromLogs(self.failures)

    def listen(self):
        """Put the listeners in place."""
        explanation = rewrite._format_explanation

        def explained(text):
            """Note a failed assertion; pytest's rewritten `assert` asks for its explanation."""
            if threading.current_thread() is not threading.main_thread():
                where = "".join(traceback.format_stack(sys._getframe(1), limit=4))
                self.failures.add("An assertion failed", f"{where}{explanation(text)}\n")
            return explanation(text)

        def handler_failed(_server, _request, _client):
            error = sys.exception()
            if not isinstance(error, OSError):  # a client may hang up, and a test may cut its line
                self.failures.add("A handler failed", "".join(traceback.format_exception(error)))

        self._patch.setattr(rewrite, "_format_explanation", explained)
        self._patch.setattr(socketserver.BaseServer, "handle_error", handler_failed)
        for name in _LOGGERS:
            logging.getLogger(name).addHandler(self._from_logs)

    def pytest_unconfigure(self):
        self._patch.undo()
        for name in _LOGGERS:
            logging.getLogger(name).removeHandler(self._from_logs)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item):
        self.failures.take()  # what came between two tests belongs to neither
        return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item):
        return (yield from self._checked(item, "call"))

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_teardown(self, item):
        return (yield from self._checked(item, "teardown"))

    def _checked(self, item, phase):
        """Fail the phase for what went wrong in a thread; a failure of its own goes before."""
        try:
            result = yield
        except BaseException:
            if found := self.failures.take():
                item.add_report_section(phase, "threads", found)
            raise
        if found := self.failures.take():
            pytest.fail(
                f"The test ended well, and a thread of it did not.\n{found}", pytrace=False
            )
        return result


def pytest_configure(config):
    plugin = ThreadFailures()
    plugin.listen()
    config.pluginmanager.register(plugin, "thread-failures-of-tests")
