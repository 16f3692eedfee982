"""Peak memory of `embed_lines`: bounded, whatever comes in."""

import subprocess
import sys

import pytest

RUN = """
import io, json, resource, sys
from ctxembed import Embedder, ModelSpec, Settings
from ctxembed.cli.embedding_run import embed_lines
from ctxembed.files.origin import Origin
from ctxembed.files.parquet import ParquetWriter
from ctxembed.testing import FakeBackend

spec = ModelSpec(name="fake", dimensions=1024, max_tokens=1000, quantizer="tanh",
                 window_tokens=1000, context_weight=1.0)
backend = FakeBackend(spec, fault=lambda batch: backend.batches.clear())
embedder = Embedder(backend, Settings(encoding=sys.argv[1]))
sentence = " In the second quarter the company made ropes of hemp and sold them to sailors."
lines = (
    json.dumps({"id": f"{n}", "chunks": [f"{n}.{c}{sentence * 3}" for c in range(10)]}).encode()
    for n in range(20_000)
)
origin = Origin.of(embedder.settings, embedder.fingerprint, embedder.dimensions)
with open(sys.argv[2], "wb") as file, ParquetWriter(file, origin) as writer:
    summary = embed_lines(embedder, lines, writer)
assert summary.chunks == 200_000
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(peak if sys.platform == "darwin" else peak * 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is asked for the POSIX way")
@pytest.mark.parametrize("encoding", ["int8", "float"])
def test_200_000_chunks_stay_under_300_mb(tmp_path, encoding):
    command = [sys.executable, "-c", RUN, encoding, str(tmp_path / "out.parquet")]
    peak = int(subprocess.run(command, check=True, capture_output=True).stdout)

    assert peak < 300e6
