"""The table of operations of the database. Their values may be confidential, so they are hidden."""

from time import perf_counter

from flask import Flask

from ..operations import Operation
from .record import add_row, find_origin, shorten


def init_app(app: Flask) -> None:
    """Listen to the operations."""

    def record(operation: Operation) -> None:
        started = perf_counter() - operation.seconds
        statement = shorten(operation.statement())
        add_row("Queries", started, statement=statement, origin=find_origin())

    app.extensions["operations"].listeners.append(record)
