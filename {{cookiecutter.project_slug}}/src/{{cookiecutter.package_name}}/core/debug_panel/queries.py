"""The table of queries. Parameters may be confidential, so they are not shown."""

from typing import Any

from flask import Flask
from sqlalchemy import event

from .record import add_row, find_origin, shorten


def init_app(app: Flask) -> None:
    """Listen to the engine. `query_logging` stores when a query started."""

    @event.listens_for(app.extensions["database"].kw["bind"], "after_cursor_execute")
    def record_query(*event: Any) -> None:
        started = event[0].info["started"]
        add_row("Queries", started, statement=shorten(event[2]), origin=find_origin())
