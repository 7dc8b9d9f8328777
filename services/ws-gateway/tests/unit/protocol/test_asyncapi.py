"""docs/reference/asyncapi.json says what the structs say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.protocol_session import Driver
from ws_gateway.protocol import asyncapi

DOCUMENT = Path(__file__).resolve().parents[5] / "docs" / "reference" / "asyncapi.json"


def references(value: Any) -> Iterator[str]:
    """Every $ref in a JSON value."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key == "$ref":
                yield item
            else:
                yield from references(item)
    elif isinstance(value, list):
        for item in value:
            yield from references(item)


def test_document_is_the_one_that_the_structs_make() -> None:
    """After a change: ``python -m ws_gateway.protocol.asyncapi > docs/reference/asyncapi.json``."""
    assert DOCUMENT.read_text(encoding="utf-8") == asyncapi.text()


def test_every_reference_leads_somewhere() -> None:
    """A reader's tool resolves them all."""
    document = json.loads(asyncapi.text())
    found = set(references(document))
    assert len(found) > 40
    for reference in found:
        place = document
        for part in reference.removeprefix("#/").split("/"):
            place = place[part]


def check(value: Any, schema: dict[str, Any], schemas: dict[str, Any]) -> None:
    """Fail unless a JSON value is of a schema, with no field that the schema does not have."""
    if "$ref" in schema:
        check(value, schemas[schema["$ref"].rsplit("/", 1)[1]], schemas)
    elif schema.get("type") == "object" and "properties" in schema:
        assert set(schema["required"]) <= set(value) <= set(schema["properties"])
        for name, item in value.items():
            check(item, schema["properties"][name], schemas)
    elif "additionalProperties" in schema:
        for item in value.values():
            check(item, schema["additionalProperties"], schemas)
    elif schema.get("type") == "array":
        for item in value:
            check(item, schema["items"], schemas)
    elif "type" in schema:
        assert type(value) is {"integer": int, "boolean": bool, "string": str}[schema["type"]]


def test_what_a_session_says_is_of_the_document() -> None:
    """Replies, errors and pushes of a connection's life."""
    schemas = json.loads(asyncapi.text())["components"]["schemas"]
    driver = Driver()
    said = [*driver.connect(), *driver.send(subscribe={"channel": "nope:x"}), *driver.send(ping={})]
    driver.send(subscribe={"channel": "kept:x"})
    said += driver.joined()
    driver.session.position_lost("kept:x")
    said += driver.said()
    assert len(said) == 5
    for reply in said:
        check(reply, schemas["Reply"], schemas)
