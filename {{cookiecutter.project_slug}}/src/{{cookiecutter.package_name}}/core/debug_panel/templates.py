"""The table of rendered templates. The time of a template includes its queries and its includes."""

from time import perf_counter
from typing import Any

from flask import Flask, before_render_template, template_rendered

from .record import add_row, current_record


def init_app(app: Flask) -> None:
    """Listen to Flask's signals."""
    before_render_template.connect(start_timer, app)
    template_rendered.connect(record_template, app)


def start_timer(_: Flask, **__: Any) -> None:
    """Store when a template started."""
    if record := current_record.get():
        record.templates_started.append(perf_counter())


def record_template(_: Flask, template: Any, **__: Any) -> None:
    """Add the template that was rendered."""
    if record := current_record.get():
        add_row("Templates", record.templates_started.pop(), name=template.name or "a string")
