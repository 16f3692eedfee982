"""What `ctxembed embed` says of itself while it runs: lines by a clock that the test moves."""

import re
from dataclasses import replace

import pytest

from ctxembed.cli import progress
from ctxembed.cli.progress import watch_documents
from ctxembed.progress import Progress

LARGE = {"id": "large", "chunks": [f"chunk {number}" for number in range(400)]}
SMALL = [{"id": f"small {number}", "chunks": ["one two", "three"]} for number in range(12)]


class Clock:
    """The time in seconds; with each look at it, once per batch, `step` of them have passed."""

    def __init__(self):
        self.now = 1000.0
        self.step = 0

    def time(self):
        self.now += self.step
        return self.now


@pytest.fixture
def clock(fake, monkeypatch):
    made = Clock()
    monkeypatch.setattr(progress, "monotonic", made.time)
    monkeypatch.setattr(fake, "limits", replace(fake.limits, batch_tokens=16))
    return made


@pytest.fixture
def five_seconds_per_batch(clock):
    clock.step = 5


def left_in(line):
    minutes, seconds = re.search(r"(\d+):(\d\d) left$", line).groups()
    return int(minutes) * 60 + int(seconds)


def test_a_line_every_half_minute_where_standard_error_is_no_terminal(
    run, lines, clock, five_seconds_per_batch
):
    """A large document in front: the lines count the small ones, and the time left shrinks."""
    start = clock.now + clock.step
    found = run("embed", lines(LARGE, *SMALL), "-o", "out.jsonl", "--window-tokens", "8")
    *said, summary = found.stderr.splitlines()
    left = [left_in(line) for line in said]

    assert found.exit_code == 0
    assert summary.startswith("13 documents, 424 chunks, ")
    assert len(said) == (clock.now - start) // 30
    assert all(
        re.fullmatch(r"\d+ documents?, \d+ chunks, [\d,]+ tokens/s, [\d:]+ left", line)
        for line in said
    )
    assert said[len(said) // 2].startswith("12 documents, 24 chunks, ")
    assert left[-1] <= 30
    assert left[len(left) // 2 :] == sorted(left[len(left) // 2 :], reverse=True)


def test_lines_say_what_was_cached_and_what_failed(run, lines, five_seconds_per_batch):
    first = lines(*SMALL[:6], name="first.jsonl")
    run("embed", first, "-o", "out.jsonl", "--cache", "kept", "--window-tokens", "8")
    bad = [{"id": f"bad {number}", "chunks": [" "]} for number in range(3)]
    given = lines(*SMALL[:6], *bad, LARGE)
    found = run(
        *("embed", given, "-o", "out.jsonl", "--cache", "kept", "--window-tokens", "8"),
        *("--errors", "skip"),
    )

    assert "\n6 documents, 12 chunks, 6 cached, 3 without vectors, " in found.stderr


def test_no_time_left_where_the_size_of_the_input_is_not_known(run, five_seconds_per_batch):
    text = b'{"id": "a", "chunks": ["one two three"' + b', "four five six"' * 200 + b"]}"
    found = run("embed", "-", "-o", "out.jsonl", "--window-tokens", "8", stdin=text)
    *said, _summary = found.stderr.splitlines()

    assert len(said) > 2
    assert all(re.fullmatch(r"0 documents, 0 chunks, [\d,]+ tokens/s", line) for line in said)


def test_nothing_is_said_when_off(run, lines, five_seconds_per_batch):
    found = run(
        *("embed", lines(LARGE), "-o", "out.jsonl", "--window-tokens", "8", "--no-progress")
    )

    assert found.stderr.count("\n") == 1


def test_a_bar_shows_tokens_per_second_and_the_time_left(clock, capsys, monkeypatch):
    """The input is half read, and half of that is done after ten seconds: thirty are left."""
    monkeypatch.setenv("COLUMNS", "120")
    with watch_documents(bar=True, lines=False, size=1000) as watch:
        clock.now += 10
        watch(Progress(taken=2, documents=1, chunks=3, tokens=50, planned_tokens=50), 500)
    bar = capsys.readouterr().err

    assert re.search(r"1 document, 3 chunks ━+.* 5 tokens/s 0:00:\d\d 00:30 left", bar)


def test_a_bar_shows_what_was_cached_and_what_failed(clock, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "120")
    with watch_documents(bar=True, lines=False, size=None) as watch:
        clock.now += 10
        watch(Progress(taken=4, documents=4, cached=2, failed=1, chunks=3, tokens=50), 500)
    bar = capsys.readouterr().err

    assert re.search(
        r"3 documents, 3 chunks .* 2 cached, 1 without vectors, 5 tokens/s 0:00:\d\d +$", bar
    )


def test_nothing_is_drawn_when_neither_is_asked_for(clock, capsys):
    with watch_documents(bar=False, lines=False, size=1000) as watch:
        clock.now += 100
        watch(Progress(taken=1, documents=1, chunks=3, tokens=50), 1000)

    assert capsys.readouterr().err == ""
