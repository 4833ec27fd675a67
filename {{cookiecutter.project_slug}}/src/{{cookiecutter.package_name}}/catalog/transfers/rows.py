"""Products as rows of CSV, in both directions."""

import csv
from collections.abc import Iterable, Iterator
from io import BufferedReader, RawIOBase, StringIO, TextIOWrapper
from typing import TextIO

from msgspec import ValidationError, convert
from msgspec.structs import fields

from ...api import find_faults
from ..models import Product
from ..schemas import ProductInput

COLUMNS = [field.name for field in fields(ProductInput)]
REQUIRED = {field.name for field in fields(ProductInput) if field.required}

# Characters in a line: one that does not end shall not fill the memory.
LONGEST = 10_000

# What spreadsheets take for the beginning of a formula, and the mark that makes it a text.
MARK = "'"
FORMULA = "=+-@＝＋－＠" + MARK  # noqa: RUF001


def parse(stream: RawIOBase) -> Iterator[tuple[int, ProductInput | str]]:
    """Read rows: the line on which each begins, and a product or what is wrong with it."""
    # What is no UTF-8 becomes surrogates, so that its row is refused and the rest is read.
    text = TextIOWrapper(BufferedReader(stream), "utf-8-sig", "surrogateescape", newline="")
    reader = csv.reader(read_lines(text), strict=True)
    line = 1
    try:
        columns = next(reader, [])
        if REQUIRED - {*columns} or {*columns} - {*COLUMNS} or len({*columns}) < len(columns):
            yield line, f"the columns must be {','.join(COLUMNS)}, in any order"
            return
        line = reader.line_num + 1
        for row in reader:
            if row:
                yield line, parse_row(columns, row)
            line = reader.line_num + 1
    except csv.Error as error:
        yield line, f"{error}; the rest was not read"


def read_lines(text: TextIO) -> Iterator[str]:
    """Read lines of bounded length."""
    while line := text.readline(LONGEST + 1):
        if len(line) > LONGEST:
            raise csv.Error(f"the line has more than {LONGEST} characters")
        yield line


def parse_row(columns: list[str], row: list[str]) -> ProductInput | str:
    """Make a product of a row, or say everything that is wrong; an empty value is none."""
    if len(row) != len(columns):
        return f"{len(row)} values for {len(columns)} columns"
    if any("\udc80" <= character <= "\udcff" for value in row for character in value):
        return "it is not UTF-8"
    given = {name: unmark(value) for name, value in zip(columns, row, strict=True) if value}
    try:
        return convert(given, ProductInput, strict=False)
    except ValidationError:
        faults = find_faults(ProductInput, given, strict=False)
        return "; ".join(f"{fault['field']}: {fault['problem']}" for fault in faults)


def write_header() -> bytes:
    """Name the columns."""
    return write([COLUMNS])


def write_products(products: Iterable[Product]) -> bytes:
    """Write rows that an import reads back as they were."""
    return write([getattr(product, name) for name in COLUMNS] for product in products)


def write(rows: Iterable[Iterable[object]]) -> bytes:
    """Write rows; no spreadsheet runs what is in them."""
    text = StringIO(newline="")
    csv.writer(text).writerows([mark(value) for value in row] for row in rows)
    return text.getvalue().encode()


def mark(value: object) -> object:
    """Keep a text from being a formula."""
    return f"{MARK}{value}" if isinstance(value, str) and value[0] in FORMULA else value


def unmark(value: str) -> str:
    """Take back what `mark` did."""
    is_marked = len(value) > 1 and value[0] == MARK and value[1] in FORMULA
    return value[1:] if is_marked else value
