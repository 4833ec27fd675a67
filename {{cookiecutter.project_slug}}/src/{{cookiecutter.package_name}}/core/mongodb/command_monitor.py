"""Reports each command to `operations`, and the collections that it has changed."""

from functools import partial
from threading import local
from typing import Any

from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)

from ..operations import Operation, Operations

WRITES = {"insert", "update", "delete", "findAndModify"}
TRANSACTION_ENDS = {"commitTransaction", "abortTransaction"}
READS = {"find", "aggregate", "count", "distinct", "getMore"}
# Collections of this package: no cached value has their tag.
INTERNAL = {"counters", "migrations"}
# Parts of commands of which the values are no data, and parts that say nothing.
SHOWN = {"limit", "sort", "projection"}
HIDDEN = {"autocommit", "batchSize", "cursor", "lsid", "maxTimeMS", "ordered", "txnNumber"}


class CommandMonitor(CommandListener):
    """A listener of pymongo, which calls it in the thread that sends the command."""

    def __init__(self, operations: Operations) -> None:
        self.operations = operations
        self.thread = local()

    def started(self, event: CommandStartedEvent) -> None:
        """Keep the command until it ends."""
        self.thread.command = event.command

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Report a command that has ended."""
        self.report(event, is_change=self.has_changes(event.command_name, event.reply))

    def failed(self, event: CommandFailedEvent) -> None:
        """Report a command that failed. Without the server's reply, it may have changed data."""
        error = RuntimeError(str(event.failure.get("errmsg", "")))
        self.report(event, is_change="code" not in event.failure, error=error)

    def report(
        self,
        event: CommandSucceededEvent | CommandFailedEvent,
        *,
        is_change: bool,
        error: Exception | None = None,
    ) -> None:
        """Call `operations`, for the commands of the application."""
        name, command = event.command_name, getattr(self.thread, "command", {})
        if name not in READS | WRITES | TRANSACTION_ENDS:
            return
        target = command.get("collection") if name == "getMore" else command.get(name)
        collection = target if isinstance(target, str) else ""
        if is_change:
            self.record_change(name, collection, is_final=command.get("autocommit") is not False)
        statement = partial(describe, name, command)
        seconds = event.duration_micros / 1e6
        self.operations.finished(Operation(name, collection, statement, seconds, error))

    def record_change(self, name: str, collection: str, *, is_final: bool) -> None:
        """Report a changed collection; those of a transaction when it is committed."""
        changed: set[str] = self.thread.__dict__.setdefault("changed", set())
        if name in WRITES and collection not in INTERNAL:
            changed.add(collection)
        if name == "abortTransaction":
            changed.clear()
        if changed and (is_final or name == "commitTransaction"):
            self.operations.on_change(*sorted(changed))
            changed.clear()

    def has_changes(self, name: str, reply: Any) -> bool:
        """Return whether a command has changed anything, or ended a transaction."""
        if name == "findAndModify":
            return bool(reply.get("lastErrorObject", {}).get("n", reply.get("value")))
        return name in TRANSACTION_ENDS or (name in WRITES and bool(reply.get("n")))


def describe(name: str, command: dict[str, Any]) -> str:
    """Return a command as text without its values, such as `find note filter={id: ?}`."""
    parts = [
        f"{key}={value if key in SHOWN else shape(value)}"
        for key, value in command.items()
        if key not in HIDDEN | {name} and not key.startswith("$")
    ]
    return " ".join([name, str(command.get(name, "")), *parts])


def shape(value: Any) -> str:
    """Return the names of a value's fields."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {shape(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return f"[{shape(value[0])}, …]" if value else "[]"
    return "?"
