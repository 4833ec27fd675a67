"""Bulk upserts of the example, as a replica set gets them: see wire_server.py."""

import tracemalloc
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice

import pytest
from flask import Flask

from {{ cookiecutter.package_name }}.catalog.mongodb import (
    BATCH_SIZE,
    save_products,
)
from {{ cookiecutter.package_name }}.catalog.schemas import ProductIn

from .wire_server import Document, WireServer, failure, wire_server

MIB = 1024 * 1024
COUNT = 20_000


def respond(command: Document) -> Document | None:
    """Reply like a server that has one category and no product."""
    name = next(iter(command))
    if name == "find":
        found = [{"id": 1, "name": "Books"}] if command[name] == "category" else []
        return {"ok": 1, "cursor": {"id": 0, "ns": "test.x", "firstBatch": found}}
    if name == "findAndModify":
        return {"ok": 1, "value": {"value": BATCH_SIZE}, "lastErrorObject": {"n": 1}}
    return {"ok": 1, "n": len(command.get("documents", []))}


@pytest.fixture
def server() -> Iterator[WireServer]:
    """A replica set, which stores nothing."""
    with wire_server(respond) as server:
        yield server


def products() -> Iterator[ProductIn]:
    """Yield many products."""
    return (ProductIn(f"P-{number}", "Pen", 100, 1) for number in range(COUNT))


def test_memory_does_not_depend_on_the_number_of_products(
    make_app: Callable[..., Flask], server: WireServer
) -> None:
    sent: Counter[str] = Counter()

    def count(command: Document) -> Document | None:
        name = next(iter(command))
        sent[name] += 1
        sent["documents"] += len(command.get("documents", []))
        server.commands.clear()
        return respond(command)

    server.respond = count
    with make_app(DATABASE_URL=server.url).app_context():
        save_products(islice(products(), BATCH_SIZE))
        sent.clear()
        tracemalloc.start()
        try:
            assert save_products(products()) == COUNT
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    # Of the application and of the scripted server: a batch, not all documents, which need 20 MiB.
    assert peak < 10 * MIB, peak
    assert sent["documents"] == COUNT
    assert sent["insert"] == sent["commitTransaction"] == COUNT // BATCH_SIZE


def test_batch_is_a_transaction(make_app: Callable[..., Flask], server: WireServer) -> None:
    with make_app(DATABASE_URL=server.url).app_context():
        assert save_products(islice(products(), 2 * BATCH_SIZE)) == 2 * BATCH_SIZE
    writes = [command for command in server.commands if "txnNumber" in command]
    writes = [command for command in writes if "findAndModify" not in command]
    assert [next(iter(command)) for command in writes] == ["insert", "commitTransaction"] * 2
    assert all(command["startTransaction"] is True for command in writes[::2])
    assert {len(command["documents"]) for command in writes[::2]} == {BATCH_SIZE}


def test_batch_with_a_duplicate_is_planned_again(
    make_app: Callable[..., Flask], server: WireServer
) -> None:
    """Another request inserts a SKU between the plan and the write: the transaction is undone."""
    known: list[Document] = []

    def duplicate(command: Document) -> Document | None:
        name = next(iter(command))
        if command[name] == "product" and name == "find":
            return {"ok": 1, "cursor": {"id": 0, "ns": "test.product", "firstBatch": known}}
        if name == "insert" and not known:
            known.append({"sku": "P-1"})
            error = {"index": 0, "code": 11000, "errmsg": "E11000"}
            return {"ok": 1, "n": 0, "writeErrors": [error]}
        if name == "update":
            return {"ok": 1, "n": len(command["updates"]), "nModified": len(command["updates"])}
        return respond(command)

    server.respond = duplicate
    with make_app(DATABASE_URL=server.url).app_context():
        assert save_products([ProductIn("P-1", "Pen", 100, 1)]) == 1
    writes = [next(iter(command)) for command in server.commands if "startTransaction" in command]
    assert writes == ["insert", "update"]
    assert "abortTransaction" in [next(iter(command)) for command in server.commands]


def test_other_errors_are_not_repeated(make_app: Callable[..., Flask], server: WireServer) -> None:
    def fail(command: Document) -> Document | None:
        return failure(13, "not authorized") if "insert" in command else respond(command)

    server.respond = fail
    app = make_app(DATABASE_URL=server.url)
    with app.app_context(), pytest.raises(Exception, match="not authorized"):
        save_products([ProductIn("P-1", "Pen", 100, 1)])
    assert len([command for command in server.commands if "insert" in command]) == 1
