"""The format of imported CSV files, and the report of an import."""

import csv
from collections.abc import Iterator
from io import StringIO
from typing import Any

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


def parse_csv(content: str) -> Iterator[Row]:
    """Parse the rows of a file; raise JobError if it is not CSV with the expected columns."""
    reader = csv.DictReader(StringIO(content, newline=""), strict=True)
    try:
        if sorted(reader.fieldnames or []) != sorted(COLUMNS):
            raise JobError(f"The columns must be {','.join(COLUMNS)}, in any order.")
        for row in reader:
            yield reader.line_num, parse_row(row)
    except csv.Error as error:
        raise JobError(f"After line {reader.line_num}: {error}.") from error


def parse_row(row: dict[str | Any, str | Any]) -> ProductIn | str:
    """Return the product of a row or an error message. An empty value is a missing one."""
    # csv.DictReader stores surplus values under None, and None for missing ones.
    if None in row or None in row.values():
        return "wrong number of values"
    try:
        given = {name: value for name, value in row.items() if value}
        return convert(given, ProductIn, strict=False)
    except ValidationError as error:
        return str(error)
