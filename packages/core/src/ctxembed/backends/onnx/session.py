"""An ONNX graph as a function from token ids to the last hidden state of every token.

Feeds exactly the inputs that the graph declares. Pooling, and whose turn it is, are the backend's
business.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from array import array
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from weakref import WeakSet

import numpy as np
import onnxruntime as ort

from ctxembed.backends import threads
from ctxembed.backends.onnx.device import CUDA
from ctxembed.backends.padding_check import ignores_padding
from ctxembed.encoding import Array, Floats
from ctxembed.errors import BackendError, ModelLoadError, ResponseError

_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "position_ids")
_OUTPUT = "last_hidden_state"
_STATES_AXES = 3
_KINDS = {"tensor(int64)": np.int64, "tensor(int32)": np.int32}

# Names of operators that measure a whole tensor to choose a scale for its activations.
_DYNAMIC = (b"DynamicQuantize", b"MatMulInteger", b"ConvInteger", b"QAttention", b"QLinear")

_FATAL = 4


class TokenSession:
    """A loaded graph. To be entered by one thread at a time.

    `gpu` is the CUDA device that it runs on, None for the CPU: also where a GPU was asked for and
    CUDA doesn't start. `takes_padding` is False where a window's states depend on its company, so
    that each window goes through alone: in a dynamically quantised graph, whose scale of
    activations comes from everything in a call, in one without a mask, and in one that looks past
    its mask. That is tried on the windows of `probe`.

    Raises:
        ModelLoadError: the graph can't be loaded, isn't an encoder's, or fails on the probe.
    """

    def __init__(
        self,
        graph: Path,
        probe: Sequence[array[int]],
        *,
        gpu: int | None = None,
        first_position: int = 0,
    ) -> None:
        self.gpu = gpu
        self._graph = graph
        self._first_position = first_position
        self._session: Any = self._load()
        self._inputs = _declared_inputs(self._session, graph)
        self._output = _states_output(self._session, graph)
        self.takes_padding = self._ignores_padding(probe)
        _SESSIONS.add(self)

    def states(self, windows: Sequence[array[int]]) -> list[Floats]:
        """Return float32 states of all tokens: one (tokens, hidden size) array per window.

        Raises:
            BackendError: the runtime failed.
            ResponseError: the states are not one per token.
        """
        if self.takes_padding:
            return self._run(windows)
        return [states for window in windows for states in self._run([window])]

    def _ignores_padding(self, probe: Sequence[array[int]]) -> bool:
        if "attention_mask" not in self._inputs or _is_dynamic(self._graph):
            return False
        try:
            self._run(probe[:1])
        except (BackendError, ResponseError) as error:
            raise ModelLoadError(
                f"{self._graph} can't run on a few tokens: {error} Hint: the tokenizer may not go "
                "with the graph, or it was exported for one length only; export it with a changing "
                "number of tokens."
            ) from error
        try:
            return ignores_padding(self._run, probe)
        except (BackendError, ResponseError):  # exported for one window per call
            return False

    def _run(self, windows: Sequence[array[int]]) -> list[Floats]:
        if self._session is None:
            self._session = self._load()
        lengths = [len(window) for window in windows]
        feed = _feed(windows, self._inputs, self._first_position)
        try:
            (states,) = self._session.run([self._output], feed)
        except Exception as error:  # the runtime's own classes have no common base
            raise BackendError(
                f"ONNX Runtime failed on {len(windows)} windows of up to {max(lengths)} tokens "
                f"({type(error).__name__}). Hint: a smaller batch_tokens or window_tokens takes "
                "less memory."
            ) from error
        if states.ndim != _STATES_AXES or states.shape[:2] != (len(windows), max(lengths)):
            raise ResponseError(
                f"{self._graph} should give a state for each of {len(windows)} x {max(lengths)} "
                f"tokens and gave shape {states.shape}."
            )
        return [
            row[:length].astype(np.float32, copy=False)
            for row, length in zip(states, lengths, strict=True)
        ]

    def _load(self) -> Any:  # noqa: ANN401 - the runtime ships no types
        providers: list[Any] = ["CPUExecutionProvider"]
        if self.gpu is not None:
            providers.insert(0, (CUDA, {"device_id": self.gpu}))
        try:
            session = ort.InferenceSession(str(self._graph), _options(), providers=providers)
        except Exception as error:  # the runtime's own classes have no common base
            raise ModelLoadError(
                f"{self._graph} can't be loaded ({type(error).__name__}). Hint: fetch it again, "
                "and its .onnx_data file beside it where it has one."
            ) from error
        if CUDA not in session.get_providers():  # without its libraries the runtime drops it
            self.gpu = None
        return session

    def _forget_after_fork(self) -> None:
        """Leave the parent's session alone: taking it apart would wait for threads not here."""
        if self._session is not None:
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._session))
            self._session = None


def _options() -> Any:  # noqa: ANN401 - the runtime ships no types
    """Return options for changing shapes and shared machines.

    Memory plans are kept a shape and would only pile up. Threads that spin gain nothing measurable
    here, and cost others. A number given keeps the runtime from pinning threads to cores.
    """
    options = ort.SessionOptions()
    options.enable_mem_pattern = False
    options.log_severity_level = _FATAL
    options.inter_op_num_threads = 1
    options.intra_op_num_threads = threads.allowed().number
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def _declared_inputs(session: Any, graph: Path) -> dict[str, Any]:  # noqa: ANN401
    """Return the kind of number of each input that the graph declares."""
    inputs = {each.name: _KINDS.get(each.type) for each in session.get_inputs()}
    strange = [name for name, kind in inputs.items() if name not in _INPUTS or kind is None]
    if strange or "input_ids" not in inputs:
        raise ModelLoadError(
            f"{graph} takes {', '.join(inputs)}: an encoder takes input_ids and some of "
            f"{', '.join(_INPUTS[1:])}, whole numbers. Hint: export it as a feature extractor."
        )
    return inputs


def _states_output(session: Any, graph: Path) -> str:  # noqa: ANN401
    """Return the name of the output that has one state per token."""
    outputs: dict[str, int] = {each.name: len(each.shape) for each in session.get_outputs()}
    with_states = [name for name, axes in outputs.items() if axes == _STATES_AXES]
    if _OUTPUT in outputs:
        return _OUTPUT
    if len(with_states) == 1:
        return with_states[0]
    raise ModelLoadError(
        f"{graph} gives {', '.join(outputs)}, and none of them is known to be the state of every "
        f"token. Hint: export it with the output {_OUTPUT}; pooled vectors alone have no chunks."
    )


def _feed(
    windows: Sequence[array[int]], inputs: dict[str, Any], first_position: int
) -> dict[str, Array]:
    """Return the inputs for windows side by side, filled up with zeros on the right."""
    lengths = np.array([len(window) for window in windows])
    longest = int(lengths.max())
    places = np.arange(longest)
    made = {
        "input_ids": np.zeros((len(windows), longest), np.int64),
        "attention_mask": places < lengths[:, None],
        "token_type_ids": np.zeros((len(windows), longest), np.int64),
        "position_ids": np.tile(places + first_position, (len(windows), 1)),
    }
    for row, window in zip(made["input_ids"], windows, strict=True):
        row[: len(window)] = window
    return {name: made[name].astype(kind, copy=False) for name, kind in inputs.items()}


def _is_dynamic(graph: Path) -> bool:
    """Tell from the operators' names, which stand in the file as they are."""
    with graph.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return any(data.find(name) >= 0 for name in _DYNAMIC)


_SESSIONS: WeakSet[TokenSession] = WeakSet()


def _after_fork_in_child() -> None:
    for session in list(_SESSIONS):
        session._forget_after_fork()  # noqa: SLF001 - same module


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork
    os.register_at_fork(after_in_child=_after_fork_in_child)
