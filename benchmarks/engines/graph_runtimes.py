"""ONNX Runtime and OpenVINO by hand: a graph, length-sorted batches, pooling in numpy."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from engines.batches import Documents, in_batches


def onnxruntime(checkpoint: Path, threads: int) -> Callable[[Documents], list[np.ndarray]]:
    """Return the way from documents to codes through ONNX Runtime, as it comes."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    graph = str(checkpoint / "onnx" / "model.onnx")
    session = ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def states(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return session.run(None, {"input_ids": ids, "attention_mask": mask})[0]

    return in_batches(checkpoint, states)


def openvino(checkpoint: Path, threads: int, precision: str) -> Callable[[Documents], list]:
    """Return the way from documents to codes through OpenVINO's CPU plugin."""
    import openvino as ov

    told = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": precision,
        "NUM_STREAMS": 1,
    }
    model = ov.Core().compile_model(checkpoint / "openvino" / "model.xml", "CPU", told)

    def states(ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
        return model([ids, mask])[0]

    return in_batches(checkpoint, states)
