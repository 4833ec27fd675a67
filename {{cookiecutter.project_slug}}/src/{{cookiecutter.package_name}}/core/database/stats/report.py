"""A report: a query, and what to print if the database has no rows or cannot tell."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

KILO = 1024
UNITS = ("B", "kB", "MB", "GB", "TB")


class Report(NamedTuple):
    """A query, whose parameter `:limit` is the number of rows.

    Sizes in bytes have a name that ends with `size`. Long texts are in the last column.
    """

    title: str
    query: str
    empty: str = "none"
    # Hints by the database's error code: SQLSTATE, a number, or SQLite's message.
    hints: Mapping[str, str] = {}
    # A query that returns false if the server does not collect the rows, and a hint.
    condition: str = "SELECT 1"
    condition_hint: str = ""

    def lines(self, connection: Connection, limit: int) -> Iterator[str]:
        """Yield the table, or one line that says why it has no rows."""
        try:
            if not connection.scalar(text(self.condition)):
                yield self.condition_hint
                return
            result = connection.execute(text(self.query).bindparams(limit=limit))
            names, rows = [*result.keys()], result.all()
        except DBAPIError as error:
            connection.rollback()
            codes = error_codes(error)
            hints = [hint for code, hint in self.hints.items() if code in codes]
            if not hints:
                raise
            yield from hints
            return
        yield from format_table(names, rows) if rows else [self.empty]


def error_codes(error: DBAPIError) -> set[str]:
    """Return the codes of an error: SQLSTATE, a number, or SQLite's message."""
    arguments = getattr(error.orig, "args", ())
    return {str(code) for code in (getattr(error.orig, "sqlstate", None), *arguments[:1])}


def format_table(names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Iterator[str]:
    """Yield an aligned table: texts to the left, numbers to the right."""
    columns = [[row[index] for row in rows] for index in range(len(names))]
    cells = [
        align([name.replace("_", " "), *(format_value(name, value) for value in column)], column)
        for name, column in zip(names, columns, strict=True)
    ]
    return ("  ".join(row) for row in zip(*cells, strict=True))


def align(cells: list[str], values: Sequence[Any]) -> list[str]:
    """Return the cells of a column with equal widths."""
    width = max(map(len, cells))
    is_text = any(isinstance(value, str) for value in values)
    return [cell.ljust(width) if is_text else cell.rjust(width) for cell in cells]


def format_value(name: str, value: Any) -> str:
    """Return a value as text: a size with its unit, a statement in one line."""
    if value is None:
        return "-"
    if name.endswith("size"):
        return format_size(float(value))
    return " ".join(str(value).split())


def format_size(size: float) -> str:
    """Return a size in bytes with its unit."""
    units = iter(UNITS)
    unit = next(units)
    while size >= KILO and unit != UNITS[-1]:
        size, unit = size / KILO, next(units)
    return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
