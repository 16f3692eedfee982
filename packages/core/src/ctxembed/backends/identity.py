"""`ModelIdentity`: what a backend's rows depend on, beside the windows that it is given."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Two backends with equal identities give equal rows for equal windows.

    Attributes:
        kind: What runs the model: "torch", "onnx" or "api".
        model: A digest of the files that were loaded, whatever their names. Over the API it is the
            canonical name: a hosted model cannot be hashed. A server of one's own adds its
            fingerprint.
        variant: The type of the weights in use; over the API its address.
        counter: How tokens are counted, which decides where windows end.
    """

    kind: str
    model: str
    variant: str = ""
    counter: str = "exact"
