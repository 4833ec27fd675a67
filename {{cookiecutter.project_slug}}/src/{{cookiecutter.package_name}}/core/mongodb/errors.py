"""Errors of MongoDB: their text, and those that mean that it is unavailable."""

from pymongo.errors import OperationFailure

# Codes of a server that rejects the credentials, as Atlas does with 8000.
REJECTED_CODES = {18, 8000}
# Codes of a server that shuts down, or elects a primary.
CHANGING_CODES = {91, 189, 10107, 11600, 11602, 13435, 13436}


def describe_error(error: Exception) -> str:
    """Return the reason in one line, without the description of all servers that follows it."""
    return " ".join(str(error).split()).partition(", Timeout: ")[0].partition(", full error: ")[0]


def is_unavailable(error: OperationFailure) -> bool:
    """Return whether the server rejects the credentials, changes its role or is too slow."""
    return error.timeout or error.code in REJECTED_CODES | CHANGING_CODES
