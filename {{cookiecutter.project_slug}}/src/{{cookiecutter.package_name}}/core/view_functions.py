"""Flask's check for `async def` functions, which was a tenth of the time of a small response."""

from collections.abc import Callable
from functools import lru_cache
from inspect import CO_COROUTINE
from typing import Any

from flask import Flask


def init_app(app: Flask) -> None:
    """Call functions that are not `async def` without further checks.

    Flask checks each view, each function before and after a request, and each teardown function
    in each request.
    """
    original = app.ensure_sync

    # One of its attributes may mark a function as asynchronous. Those of views stay as they are.
    @lru_cache(maxsize=1000)
    def is_unmarked(function: Callable[..., Any]) -> bool:
        return original(function) is function

    def ensure_sync(function: Callable[..., Any]) -> Callable[..., Any]:
        # A method has the code and the attributes of its function.
        code = getattr(function, "__code__", None)
        if (
            code
            and not code.co_flags & CO_COROUTINE
            and (not function.__dict__ or is_unmarked(function))
        ):
            return function
        return original(function)

    app.ensure_sync = ensure_sync  # type: ignore[assignment, method-assign]
