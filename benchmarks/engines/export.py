"""The checkpoint in the forms that other engines read: plain Qwen3, ONNX, and OpenVINO's own.

`python -m engines.export FORM CHECKPOINT` writes one beside the weights. Both graphs take ids and a
mask of real tokens, look both ways, and keep no mask of tokens by tokens.
"""

import json
import shutil
import sys
from pathlib import Path

SAMPLE = (2, 24)


def plain(checkpoint: Path) -> Path:
    """Return a directory with the same weights as a stock Qwen3 that looks both ways."""
    directory = checkpoint.with_name(f"{checkpoint.name}-plain")
    if (directory / "config.json").is_file():
        return directory
    directory.mkdir(exist_ok=True)
    told = json.loads((checkpoint / "config.json").read_text())
    told = {key: value for key, value in told.items() if key != "auto_map"}
    told |= {"model_type": "qwen3", "architectures": ["Qwen3Model"], "is_causal": False}
    (directory / "model.safetensors").symlink_to(checkpoint.resolve() / "model.safetensors")
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(checkpoint / name, directory / name)
    (directory / "config.json").write_text(json.dumps(told))
    return directory


def _module(checkpoint: Path) -> object:
    """Return the stock model as a function of ids and mask only."""
    import torch
    from transformers import AutoModel

    class BothWays(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = AutoModel.from_pretrained(plain(checkpoint), attn_implementation="sdpa")
            self.model.config.use_cache = False

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            seen = attention_mask.to(torch.bool)[:, None, None, :]
            places = torch.arange(input_ids.shape[1], device=input_ids.device)[None]
            return self.model(
                input_ids=input_ids, attention_mask=seen, position_ids=places
            ).last_hidden_state

    return BothWays().eval()


def _sample() -> dict[str, object]:
    import torch

    ids = torch.randint(1000, SAMPLE)
    return {"input_ids": ids, "attention_mask": torch.ones_like(ids)}


def onnx(checkpoint: Path) -> Path:
    """Write `onnx/model.onnx` with its weights beside it, where the vendor has it too."""
    import torch

    path = checkpoint / "onnx" / "model.onnx"
    path.parent.mkdir(exist_ok=True)
    axes = {0: "batch", 1: "tokens"}
    with torch.inference_mode():
        torch.onnx.export(
            _module(checkpoint),
            (),
            str(path),
            kwargs=_sample(),
            input_names=["input_ids", "attention_mask"],
            output_names=["last_hidden_state"],
            dynamic_axes=dict.fromkeys(("input_ids", "attention_mask", "last_hidden_state"), axes),
            opset_version=18,
            dynamo=False,
        )
    return path


def openvino(checkpoint: Path) -> Path:
    """Write `openvino/model.xml` in float32."""
    import openvino as ov

    path = checkpoint / "openvino" / "model.xml"
    path.parent.mkdir(exist_ok=True)
    model = ov.convert_model(_module(checkpoint), example_input=_sample())
    ov.save_model(model, path, compress_to_fp16=False)
    return path


if __name__ == "__main__":
    written = {"plain": plain, "onnx": onnx, "openvino": openvino}[sys.argv[1]](Path(sys.argv[2]))
    print(json.dumps({"written": str(written)}))
