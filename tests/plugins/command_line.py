"""A command of the command line, run in this process."""

import pytest


@pytest.fixture
def invoke(tmp_path, monkeypatch):
    """Run a command in an empty folder, on the backend that it asks for."""
    from typer.testing import CliRunner

    from ctxembed.cli.app import app

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*arguments, stdin=None):
        return CliRunner().invoke(app, [str(each) for each in arguments], input=stdin)

    return call
