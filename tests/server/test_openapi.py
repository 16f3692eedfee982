"""The OpenAPI document is true; no request that it allows, or nearly allows, is a 500."""

import re
import warnings
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from pydantic import BaseModel

from ctxembed.server import schemas
from ctxembed.server.openapi import openapi_document
from ctxembed.server.routes import OPERATIONS

EXAMPLES = 30


def test_every_type_of_the_wire_is_a_component():
    components = openapi_document(guarded=False)["components"]["schemas"]
    types = {
        each.__name__
        for each in vars(schemas).values()
        if isinstance(each, type)
        and issubclass(each, BaseModel)
        and each.__module__ == schemas.__name__
    }
    assert {name for name in types if not name.startswith("_")} == set(components)


def test_every_route_is_documented(serve):
    server = serve()
    document = httpx.get(f"{server.url}/openapi.json").json()
    routes = {route.path for route in server.app.routes} - {"/openapi.json"}
    assert set(document["paths"]) == routes


def test_the_page_of_the_server_names_every_route():
    page = (Path(__file__).parents[2] / "docs" / "server.md").read_text(encoding="utf-8")
    table = re.findall(r"^\| `(GET|POST) (\S+)` \|", page, re.MULTILINE)
    assert sorted(table) == sorted((each.method, each.path) for each in OPERATIONS)


def test_a_key_is_documented_where_one_is_asked_for():
    document = openapi_document(guarded=True)
    for path, operations in document["paths"].items():
        for operation in operations.values():
            assert ("security" in operation) == path.startswith("/v1/")
            assert ("401" in operation["responses"]) == path.startswith("/v1/")
    assert "securitySchemes" not in openapi_document(guarded=False)["components"]


def test_no_request_is_a_500(serve):
    """Every operation, with bodies that fit and bodies that don't: answers are as documented."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        schemathesis = pytest.importorskip("schemathesis")
    from schemathesis.checks import CHECKS, load_all_checks
    from schemathesis.generation import GenerationMode

    load_all_checks()
    checks = CHECKS.get_by_names(
        [
            "not_a_server_error",
            "status_code_conformance",
            "content_type_conformance",
            "response_schema_conformance",
            "negative_data_rejection",
        ]
    )
    server = serve()
    schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
    operations = [result.ok() for result in schema.get_all_operations()]
    assert len(operations) == 6
    for operation in operations:
        modes = GenerationMode if operation.method == "post" else [GenerationMode.POSITIVE]
        for mode in modes:
            check(operation, mode, checks)


def check(operation, mode, checks):
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def every_answer_is_as_documented(case):
        response = case.call()
        case.validate_response(response, checks=checks)

    every_answer_is_as_documented()
