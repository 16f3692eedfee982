"""The recipes of docs/bulk.md give the rows of a plain call, and its readers read every row."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from bulk_files import documents, write_lines

PAGE = Path(__file__).parents[2] / "docs/bulk.md"
RECIPES = dict(
    re.findall(r'```python engine="(\w+)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL)
)
READERS = {
    "pyarrow": ("pyarrow.dataset.dataset", "len({}.to_table())"),
    "pandas": ("pandas.read_parquet", "len({})"),
    "polars": ("polars.read_parquet", "len({})"),
    "duckdb": ("select", "len(duckdb.sql({!r}).fetchall())"),
    "daft": ("daft.read_parquet", "{}.count_rows()"),
    "datasets": ("datasets.load_dataset", "len({})"),
}
"""How the line of the page begins, and how rows are counted in what it gives."""


def program(text, folder):
    """Run a program in a folder; an engine has processes, threads and atexit hooks of its own."""
    own = {
        "PYSPARK_PYTHON": sys.executable,
        "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HOME": str(folder / "cache"),
        "HF_HUB_OFFLINE": "1",
        "DO_NOT_TRACK": "1",
        "OMP_NUM_THREADS": "1",
    }
    (folder / "program.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "program.py"],
        cwd=folder,
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def needed(engine):
    """Skip where an engine is not installed; it is imported in a program of its own."""
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"needs {engine}")


@pytest.mark.slow
@pytest.mark.parametrize("engine", RECIPES)
def test_recipe_gives_the_rows_of_a_plain_call(tmp_path, engine):
    needed(engine)
    from ctxembed.bulk import EmbedBatch

    given = documents(300)
    given[3]["chunks"], given[170]["chunks"] = ["x", " "], []
    table = pa.Table.from_pylist(given)
    pq.write_table(table, tmp_path / "documents.parquet")
    program(RECIPES[engine], tmp_path)

    files = [str(path) for path in tmp_path.glob("vectors*/**/*.parquet")]
    found = ds.dataset(files or [str(tmp_path / "vectors.parquet")]).to_table()
    rows = sorted(found.select(["id", "embeddings"]).to_pylist(), key=lambda row: row["id"])
    plain = EmbedBatch(model="minilm")(table).select(["id", "embeddings"]).to_pylist()
    assert rows == sorted(plain, key=lambda row: row["id"])
    errors = dict(zip(found["id"].to_pylist(), found["error"].to_pylist(), strict=True))
    assert {key for key, error in errors.items() if error} == {"d3", "d170"}


@pytest.mark.slow
def test_page_has_a_recipe_for_every_engine():
    assert set(RECIPES) == {"ray", "daft", "pyspark", "dask", "datasets"}


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.slow
def test_reader_reads_every_row_of_a_directory(run, tmp_path, reader):
    needed(reader)
    write_lines(tmp_path / "in.jsonl", documents(30))
    result = run("embed", "in.jsonl", "-o", "vectors", "--shard-documents", "10")
    assert result.exit_code == 0, result.stderr
    start, counting = READERS[reader]
    (line,) = re.findall(rf"\| {reader} \| `({re.escape(start)}.*)` \|", PAGE.read_text())
    module = "pyarrow.dataset" if reader == "pyarrow" else reader
    count = program(f"import {module}\nprint({counting.format(line)})", tmp_path)

    assert int(count.splitlines()[-1]) == 60
