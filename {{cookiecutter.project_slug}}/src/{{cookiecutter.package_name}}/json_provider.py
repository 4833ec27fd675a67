"""JSON for the whole application, by msgspec: several times as fast as the standard library's."""

from typing import Any

import msgspec
from flask import Flask, Response
from flask.json.provider import JSONProvider


class MsgspecProvider(JSONProvider):
    """Writes dates as RFC 3339, decimals and UUIDs as strings; knows dataclasses and Structs."""

    def dumps(self, obj: Any, **_: Any) -> str:
        """Return `obj` as JSON text."""
        return msgspec.json.encode(obj).decode()

    def loads(self, s: str | bytes, **_: Any) -> Any:
        """Parse JSON; raises `ValueError`, which Flask answers with 400."""
        try:
            return msgspec.json.decode(s)
        except RecursionError:
            raise ValueError("JSON is nested too deeply") from None

    def response(self, *args: Any, **kwargs: Any) -> Response:
        """Return a JSON response, without the detour over text."""
        body = msgspec.json.encode(self._prepare_response_obj(args, kwargs))
        return Response(body, mimetype="application/json")


def init_app(app: Flask) -> None:
    """Make Flask, and so every view, use it."""
    app.json = MsgspecProvider(app)
