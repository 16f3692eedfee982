"""Who is next: windows of waiting requests, taken in turn. Pure functions over plain data.

Every request contributes one window after the other, so a short one is through with its few windows
while a long one is still contributing.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from ctxembed.batches import Limits, pack
from ctxembed.encoding import Array
from ctxembed.recipe import Recipe
from ctxembed.windows import Window

PADDED_BATCHES = 8
"""Batches chosen together where padding costs: windows of like length then go together."""


@dataclass(eq=False, slots=True)
class Job:
    """A request's windows, the rows that are there, and who waits for all of them."""

    windows: Sequence[Window]
    recipe: Recipe
    tokens: int
    future: Future[list[Array]] = field(default_factory=Future)
    rows: dict[int, Array] = field(default_factory=dict)
    waiting: deque[int] = field(default_factory=deque)

    def __post_init__(self) -> None:
        """All windows wait, in order."""
        self.waiting.extend(range(len(self.windows)))


@dataclass(frozen=True, slots=True)
class Ticket:
    """One window of a request."""

    job: Job
    number: int

    @property
    def window(self) -> Window:
        """The window itself."""
        return self.job.windows[self.number]


def take_turn(jobs: deque[Job], limits: Limits) -> list[Ticket]:
    """Take windows of one form from the jobs in turn, as many as go through the model together.

    `jobs` is left in the order of the next turn: those of another form first, so that no form waits
    for ever; then those that have windows left. Finished and abandoned jobs drop out.
    """
    budget = limits.batch_tokens * (PADDED_BATCHES if limits.padded else 1)
    taken: list[Ticket] = []
    passed: deque[Job] = deque()
    tokens = 0
    while jobs:
        job = jobs.popleft()
        if job.future.done() or not job.waiting:
            continue
        if taken and not _together(job, taken[0].job):
            passed.append(job)
            continue
        tokens += job.windows[job.waiting[0]].tokens
        if taken and tokens > budget:
            passed.append(job)
            break
        taken.append(Ticket(job, job.waiting.popleft()))
        jobs.append(job)
    jobs.extendleft(reversed(passed))
    return taken


def _together(one: Job, other: Job) -> bool:
    return (one.recipe.form, one.recipe.prefix) == (other.recipe.form, other.recipe.prefix)


def batches_of(tickets: Sequence[Ticket], limits: Limits) -> list[list[Ticket]]:
    """Return tickets as batches within the limits, run one after the other."""
    members = pack([ticket.window for ticket in tickets], replace(limits, concurrency=1))
    return [[tickets[number] for number in numbers] for numbers in members]


def by_job(tickets: Sequence[Ticket]) -> list[list[Ticket]]:
    """Return the tickets of each job."""
    found: dict[int, list[Ticket]] = {}
    for ticket in tickets:
        found.setdefault(id(ticket.job), []).append(ticket)
    return list(found.values())
