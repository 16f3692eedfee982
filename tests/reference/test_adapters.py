"""An adapter that peft trained gives the vectors that peft and sentence-transformers give.

Runs in `nox -s tests-reference`. With peft installed, transformers puts adapters in by itself: that
must not happen twice.
"""

from pathlib import Path

import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("peft")

import torch
from checkpoints import copy_of
from peft import LoraConfig, get_peft_model
from sentence_transformers import SentenceTransformer
from transformers import AutoModel

from ctxembed import Embedder

TEXT = "The river rises in the mountains."


@pytest.mark.filterwarnings("ignore")  # of theirs
@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_an_adapter_of_peft(tiny_bert: Path, tmp_path: Path, *, rank_stabilised: bool):
    directory = copy_of(tiny_bert, tmp_path / "adapted")
    torch.manual_seed(0)
    targets = {"target_modules": ["query", "dense"], "use_rslora": rank_stabilised}
    model = get_peft_model(
        AutoModel.from_pretrained(tiny_bert), LoraConfig(r=4, lora_alpha=16, **targets)
    )
    for name, weight in model.named_parameters():
        if "lora_" in name:
            weight.data = torch.randn_like(weight) * 0.1
    model.save_pretrained(directory)
    settings = {"encoding": "float", "normalize": True, "context_weight": 0.0}
    (ours,) = Embedder.open(model=str(directory), **settings).embed_documents([[TEXT]])
    theirs, base = (
        SentenceTransformer(str(each), device="cpu").encode([TEXT], normalize_embeddings=True)
        for each in (directory, tiny_bert)
    )

    assert (ours * theirs).sum() > 0.99999
    assert (theirs * base).sum() < 0.99
