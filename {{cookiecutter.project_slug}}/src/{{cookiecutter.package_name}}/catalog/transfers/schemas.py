"""What the API of files takes, and what their jobs result in."""

from msgspec import Struct, field

from ...mail import EmailAddress
from ...tasks import Reason

# How many refused rows a report names; it counts all.
NAMED = 100


class ExportQuery(Struct, forbid_unknown_fields=True):
    """Why it is asked for."""

    reason: Reason = ""


class ImportQuery(ExportQuery, forbid_unknown_fields=True):
    """Why it is asked for, and who is to be told when it is done."""

    notify: EmailAddress | None = None


class RefusedRow(Struct):
    """A row that was not imported, by its first line, and all that is wrong with it."""

    line: int
    problem: str


class ImportReport(Struct):
    """What became of a file."""

    products: int = 0
    refused: int = 0
    refused_rows: list[RefusedRow] = field(default_factory=list)

    def refuse(self, line: int, problem: str) -> None:
        """Count a row, and name it while there are few."""
        self.refused += 1
        if len(self.refused_rows) < NAMED:
            self.refused_rows.append(RefusedRow(line, problem))
