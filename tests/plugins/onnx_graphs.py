"""ONNX graphs of a few operators each, written byte by byte: no exporter is needed."""

import numpy as np

FLOAT, INT32, INT64 = 1, 6, 7


def varint(number):
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def field(number, value):
    """One protobuf field: a number, a text, bytes, or a list of any."""
    if isinstance(value, list):
        return b"".join(field(number, each) for each in value)
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def node(kind, inputs, output):
    return field(1, inputs) + field(2, output) + field(4, kind)


def cast(source, output):
    to_float = field(1, "to") + field(3, FLOAT) + field(20, 2)
    return node("Cast", [source], [output]) + field(5, to_float)


INTEGERS_AXES = field(1, "axes") + field(8, 1) + field(20, 7)


def tensor(name, values, external=None):
    kind = FLOAT if values.dtype == np.float32 else INT64
    head = field(1, list(values.shape)) + field(2, kind) + field(8, name)
    if external is None:
        return head + field(9, values.tobytes())
    place = field(1, "location") + field(2, external)
    return head + field(13, place) + field(14, 1)


def value(name, kind, *shape):
    axes = [field(1, size) if isinstance(size, int) else field(2, size) for size in shape]
    return field(1, name) + field(2, field(1, field(1, kind) + field(2, field(1, axes))))


def model(nodes, constants, inputs, outputs):
    graph = field(1, nodes) + field(2, "g") + field(5, constants)
    graph += field(11, inputs) + field(12, outputs)
    return field(1, 8) + field(7, graph) + field(8, field(2, 17))


def ids(name="input_ids", kind=INT64, batch="batch"):
    return value(name, kind, batch, "tokens")


def states(name="last_hidden_state", width=8):
    return value(name, FLOAT, "batch", "tokens", width)


def encoder(weights, *, external=None, output="last_hidden_state", dynamic=False, batch="batch"):
    """Each state is its word's row plus the mean of all rows that the mask shows."""
    last = "sum" if dynamic else output
    nodes = [
        node("Gather", ["words", "input_ids"], ["rows"]),
        cast("attention_mask", "seen"),
        node("Unsqueeze", ["seen", "two"], ["mask"]),
        node("Mul", ["rows", "mask"], ["masked"]),
        node("ReduceSum", ["masked", "one"], ["total"]),
        node("ReduceSum", ["mask", "one"], ["count"]),
        node("Div", ["total", "count"], ["mean"]),
        node("Add", ["rows", "mean"], [last]),
    ]
    if dynamic:
        nodes.append(node("DynamicQuantizeLinear", ["sum"], ["codes", "scale", "zero"]))
        nodes.append(node("DequantizeLinear", ["codes", "scale", "zero"], [output]))
    constants = [
        tensor("words", weights, external),
        tensor("one", np.array([1])),
        tensor("two", np.array([2])),
    ]
    inputs = [ids(batch=batch), ids("attention_mask", batch=batch)]
    return model(nodes, constants, inputs, [states(output, weights.shape[1])])
