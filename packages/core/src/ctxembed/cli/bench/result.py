"""The result of the benchmark: plain values for the table, for JSON and for tests."""

from dataclasses import asdict, dataclass
from typing import Any

from ctxembed.cli.bench.agreement import Agreement
from ctxembed.cli.plurals import counted

_BUSY = 0.5
"""A note is given where others wanted at least this share of the cores."""

_WAITED = 0.1
"""A note is given where threads waited for a core at least this share of the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """The figures of one type of arithmetic; None stands for what could not be measured.

    `seconds` is the fastest of `runs`; `started`, `loaded` and `first` are the three parts of the
    time to the first vector, one after the other. `waited` is the share of that fastest run in
    which a thread waited for a core. Memory is in bytes (`device_memory` that of the fullest GPU),
    `operations` are those of one run, `peak` is in GFLOP/s, of all devices together.
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
        """Tokens that the model read per second."""
        return self.tokens / self.seconds

    @property
    def chunks_per_second(self) -> float:
        """Vectors per second."""
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
        """The share of useful work in the measured peak."""
        return self.speed / self.peak if self.speed is not None and self.peak else None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, fit for JSON."""
        return asdict(self) | {
            "tokens_per_second": self.tokens_per_second,
            "chunks_per_second": self.chunks_per_second,
            "first_vector": self.first_vector,
            "speed": self.speed,
            "share": self.share,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that was measured, and with what; `available` counts the documents there are.

    `settings` are those of all rows, without their dtype; `seconds` is the time given to each.
    `load` is that of the whole machine, so `cores` are all of its cores, not only those of this
    process.
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
        """The most tokens per chunk, where a document was a text: the same for all rows."""
        return self.rows[0].chunk_tokens

    def notes(self) -> list[str]:
        """Return sentences on what was not measured, or not with all documents, and why."""
        first, *others = self.rows
        found = []
        if self.load is not None and self.load >= self.cores * _BUSY:
            found.append(
                f"the machine was busy before it began, load {self.load:.1f} on "
                f"{counted(self.cores, 'core')}: on a quiet one the figures are better."
            )
        found += [
            f"{each.name}: its threads waited {each.waited:.0%} of the time for a core: on a quiet "
            "machine the figures are better."
            for each in self.rows
            if each.waited is not None and each.waited >= _WAITED
        ]
        if first.documents < self.available:
            found.append(
                f"{first.documents:,} of {self.available:,} documents were measured, in order: "
                "--seconds decides how many fit."
            )
        found += [
            f"{each.name} is slower and was measured on {each.documents:,} of these "
            f"{first.documents:,}; the agreement is counted over those."
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
        return asdict(self) | {
            "chunk_tokens": self.chunk_tokens,
            "rows": [each.to_dict() for each in self.rows],
            "notes": self.notes(),
        }


def _no_share(result: Result) -> str:
    if result.backend != "torch":
        return "the share of peak was not measured: the work inside an ONNX graph is not known."
    if any(each.operations is None for each in result.rows):
        return "the share of peak was not measured: the work of this kind of model is not known."
    names = ", ".join(each.name for each in result.rows if each.share is None)
    return f"the share of peak was not measured for {names}: no floating-point products."
