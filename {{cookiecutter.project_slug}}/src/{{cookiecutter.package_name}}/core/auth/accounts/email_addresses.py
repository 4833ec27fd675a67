"""E-mail addresses: one form for each."""

import re
import unicodedata

from ...errors import FieldError, UnprocessableContent
from ...mail import PATTERN

MAX_LENGTH = 254
ADDRESS = re.compile(PATTERN)


def normalize(address: str, field: str = "email") -> str:
    """Return an address in lower case; raise the error for 422 if it is no address.

    Only ASCII is allowed, so that no two addresses look alike. Full-width and other compatible
    characters are converted (Unicode normalization form KC).
    """
    text = unicodedata.normalize("NFKC", address[: MAX_LENGTH + 1]).strip().lower()
    if len(text) > MAX_LENGTH or not ADDRESS.fullmatch(text):
        raise UnprocessableContent(FieldError(field, "Enter an e-mail address"))
    return text
