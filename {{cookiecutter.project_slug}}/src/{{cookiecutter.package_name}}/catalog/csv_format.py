"""The format of imported CSV files, and the report of an import."""

import csv
from collections.abc import Iterable, Iterator
from io import BytesIO, TextIOWrapper

from msgspec import Struct, ValidationError, convert, field
from msgspec.structs import fields

from ..core.api import TextBody
from ..core.tasks import JobError
from .schemas import ProductIn

COLUMNS = [column.name for column in fields(ProductIn)]
# {% if cookiecutter.__auth %}
# An import publishes new products, and does not change whether others are drafts.
COLUMNS.remove("draft")
# {% endif %}
CSV = TextBody("text/csv", "sku,name,price_cents,category_id,stock\nKITE-1,Red kite,1250,1,7\n")
MAX_REPORTED_ROWS = 100

# The line on which a row ends, with its product or an error message.
Row = tuple[int, ProductIn | str]


class RejectedRow(Struct):
    """Row that was not imported."""

    line: int
    message: str


class ImportReport(Struct):
    """Result of an import. It counts all rejected rows and lists the first ones."""

    products: int = 0
    rejected: int = 0
    rejected_rows: list[RejectedRow] = field(default_factory=list)

    def reject(self, line: int, message: str) -> None:
        """Count a rejected row."""
        self.rejected += 1
        if len(self.rejected_rows) < MAX_REPORTED_ROWS:
            self.rejected_rows.append(RejectedRow(line, message))

    def __str__(self) -> str:
        """Return the text of the e-mail."""
        lines = [f"line {row.line}: {row.message}" for row in self.rejected_rows]
        return "\n".join([f"Products: {self.products}", f"Rejected rows: {self.rejected}", *lines])


def count_rows(content: Iterable[bytes]) -> int:
    """Return the number of rows of a file; raise JobError if any part of it is malformed."""
    return sum(1 for _ in read_csv(content))


def parse_csv(content: Iterable[bytes]) -> Iterator[Row]:
    """Parse the rows of a file one by one."""
    for line, columns, values in read_csv(content):
        yield line, parse_row(columns, values)


def read_csv(content: Iterable[bytes]) -> Iterator[tuple[int, list[str], list[str]]]:
    """Read a file: for each row its last line, the names of the columns and the values.

    Raise JobError if it is not CSV with the expected columns.
    """
    reader = csv.reader(read_lines(content), strict=True)
    line = 0
    try:
        columns = next(reader, [])
        if sorted(columns) != sorted(COLUMNS):
            raise JobError(f"The columns must be {','.join(COLUMNS)}, in any order.")
        line = reader.line_num
        for values in reader:
            line = reader.line_num
            if values:
                yield line, columns, values
    except csv.Error as error:
        raise JobError(f"After line {line}: {error}.") from error


def read_lines(content: Iterable[bytes]) -> Iterator[str]:
    """Decode a file, whose pieces may end within a character, line by line."""
    rest = b""
    for piece in content:
        lines, newline, rest = (rest + piece).rpartition(b"\n")
        yield from TextIOWrapper(BytesIO(lines + newline), encoding="utf-8", newline="")
    yield from TextIOWrapper(BytesIO(rest), encoding="utf-8", newline="")


def parse_row(columns: list[str], values: list[str]) -> ProductIn | str:
    """Return the product of a row or an error message. An empty value is a missing one."""
    if len(values) != len(columns):
        return "wrong number of values"
    try:
        given = {name: value for name, value in zip(columns, values, strict=True) if value}
        return convert(given, ProductIn, strict=False)
    except ValidationError as error:
        return str(error)
