"""What the catalog's API takes and gives."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Self

from msgspec import Meta, Struct, json

from ..errors import InvalidInput

Id = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Cents = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Stock = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# Ends with the text; `$` would let a last line break through in Python.
PRINTABLE = r"^[^\x00-\x1f\x7f]+(?![\s\S])"
Name = Annotated[str, Meta(max_length=120, pattern=PRINTABLE)]
CategoryName = Annotated[str, Meta(max_length=80, pattern=PRINTABLE)]
Sku = Annotated[str, Meta(max_length=40, pattern=r"^[A-Z0-9][A-Z0-9-]*(?![\s\S])")]
Cursor = Annotated[str, Meta(max_length=1000, description="`next` of the page before")]

# What text that is not base64, not JSON, of another shape, or nested too deeply raises.
NOT_A_POSITION = (ValueError, RecursionError)


class CategoryInput(Struct, forbid_unknown_fields=True):
    """A category as a client writes it."""

    name: CategoryName


class CategoryOutput(Struct):
    """A category as a client reads it."""

    id: int
    name: str


class CategoryCount(CategoryOutput):
    """A category in the list of all."""

    products: int


class ProductInput(Struct, forbid_unknown_fields=True):
    """A product as a client writes it."""

    sku: Sku
    name: Name
    price_cents: Cents
    category_id: Id
    stock: Stock = 0


class ProductOutput(Struct):
    """A product as a client reads it; its version is in the `ETag`."""

    id: int
    sku: str
    name: str
    price_cents: int
    stock: int
    category: CategoryOutput


PRECONDITIONS = {
    "if_match": "If-Match",
    "if_none_match": "If-None-Match",
    "if_unmodified_since": "If-Unmodified-Since",
}


class Precondition(Struct, rename=PRECONDITIONS):
    """Which version a client has seen: its `ETag`, or at least its `Last-Modified`."""

    if_match: str = ""
    if_none_match: str = ""
    if_unmodified_since: str = ""


class ProductQuery(Struct, forbid_unknown_fields=True):
    """Which products, and from where on."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Cursor | None = None
    category_id: Id | None = None
    sold_out: bool = False


class ProductPage(Struct):
    """Some products; `next` is to be asked for as `after`, and null at the end."""

    items: list[ProductOutput]
    next: str | None


class Position(Struct, array_like=True):
    """A product's place in the list; as text it is opaque to clients."""

    name: Name
    id: Id

    def __str__(self) -> str:
        """Return text that is safe in a URL."""
        return urlsafe_b64encode(json.encode(self)).decode()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote; anything else is the client's fault."""
        try:
            return json.decode(urlsafe_b64decode(text), type=cls)
        except NOT_A_POSITION:
            raise InvalidInput([{"field": "after", "problem": "is not a position"}]) from None
