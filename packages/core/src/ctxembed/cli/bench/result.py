"""What a run of the benchmark found: plain values for the table, for JSON and for tests."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from ctxembed.cli.bench.agreement import Agreement
from ctxembed.cli.plurals import counted

_BUSY = 0.5
"""Share of the cores that others may have wanted before figures are said to suffer."""

_WAITED = 0.1
"""Share of the time that threads may wait for a core before figures are said to suffer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One type of arithmetic: what it was measured on, how long it took, how far it is from float32.

    `seconds` is the fastest of `runs`; `started`, `loaded` and `first` are the three parts of the time
    to the first vector, one after the other. `waited` is the share of that fastest run that a thread
    waited for a core. Memory is in bytes (`device_memory` that of the fullest GPU), `operations` are
    those of one run, `peak` in GFLOP/s, of all devices together. None stands for what could not be
    measured.
    """

    name: str
    device: str
    threads: int
    documents: int
    chunks: int
    chunk_tokens: int
    tokens: int
    runs: int
    seconds: float
    started: float
    loaded: float
    first: float
    waited: float | None
    memory: int | None
    device_memory: int | None = None
    operations: int | None = None
    peak: float | None = None
    agreement: Agreement | None = None

    @property
    def tokens_per_second(self) -> float:
        """Tokens that the model read in a second."""
        return self.tokens / self.seconds

    @property
    def chunks_per_second(self) -> float:
        """Vectors a second."""
        return self.chunks / self.seconds

    @property
    def first_vector(self) -> float:
        """Seconds from the start of the process to the first vector."""
        return self.started + self.loaded + self.first

    @property
    def speed(self) -> float | None:
        """GFLOP/s of useful work."""
        return None if self.operations is None else self.operations / self.seconds / 1e9

    @property
    def share(self) -> float | None:
        """The part that useful work has of the measured peak."""
        return self.speed / self.peak if self.speed is not None and self.peak else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        derived = ("tokens_per_second", "chunks_per_second", "first_vector", "speed", "share")
        return asdict(self) | {name: getattr(self, name) for name in derived}


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """All that was measured, on what and with what; `available` counts the documents there are.

    `settings` are those of all rows, without their dtype; `seconds` is the time that each was given.
    `load` is that of the whole machine, so `cores` are all of its cores, whatever this process may use.
    """

    model: str
    backend: str
    data: str
    available: int
    settings: dict[str, Any]
    seconds: float
    load: float | None
    cores: int
    rows: tuple[Measured, ...]
    facts: dict[str, str]

    @property
    def chunk_tokens(self) -> int:
        """The most tokens a chunk, where a document was a text: the same for all rows."""
        return self.rows[0].chunk_tokens

    def notes(self) -> list[str]:
        """Return in words what was not measured, or not on all documents, and why."""
        first, *others = self.rows
        found = []
        if self.load is not None and self.load >= self.cores * _BUSY:
            cores = counted(self.cores, "core")
            busy = f"the machine was busy before it began, load {self.load:.1f} on {cores}"
            found.append(f"{busy}: on a quiet one the figures are better.")
        found += [
            f"{each.name}: its threads waited {each.waited:.0%} of the time for a core: on a quiet "
            "machine the figures are better."
            for each in self.rows
            if each.waited is not None and each.waited >= _WAITED
        ]
        if first.documents < self.available:
            part = f"{first.documents:,} of {self.available:,} documents were measured, in order"
            found.append(f"{part}: --seconds decides how many fit.")
        found += [
            f"{each.name} is slower and was measured on {each.documents:,} of these "
            f"{first.documents:,}; what agrees is counted over those."
            for each in others
            if each.documents < first.documents
        ]
        if any(each.memory is None for each in self.rows):
            found.append("peak memory was not measured: only Linux tells it.")
        if any(each.share is None for each in self.rows):
            found.append(_no_share(self))
        if first.agreement is None:
            found.append(
                "agreement was not measured: there is nothing in float32 to compare with."
            )
        return found

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        names = (
            *("model", "backend", "data", "available", "settings", "seconds", "chunk_tokens"),
            *("load", "cores"),
        )
        plain = {name: getattr(self, name) for name in names}
        plain["rows"] = [each.to_dict() for each in self.rows]
        return plain | {"facts": self.facts, "notes": self.notes()}


def _no_share(result: Result) -> str:
    if result.backend != "torch":
        return "the share of peak was not measured: the work inside an ONNX graph isn't known."
    names = [each.name for each in result.rows if each.share is None]
    if any(each.operations is None for each in result.rows):
        return "the share of peak was not measured: the work of this kind of model isn't known."
    return (
        f"the share of peak was not measured for {', '.join(names)}: no floating-point products."
    )
