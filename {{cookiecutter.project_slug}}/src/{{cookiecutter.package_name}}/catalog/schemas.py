"""Schemas of the API."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Self

from msgspec import Meta, Struct, json

from ..core.errors import FieldError, UnprocessableContent

Id = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Quantity = Annotated[int, Meta(ge=0, le=2**31 - 1)]
# No control characters. `(?![\s\S])` is the end of the text; `$` also matches before a line break.
PRINTABLE = r"^[^\x00-\x1f\x7f]+(?![\s\S])"
Name = Annotated[str, Meta(max_length=120, pattern=PRINTABLE, examples=["Kite"])]
CategoryName = Annotated[str, Meta(max_length=80, pattern=PRINTABLE, examples=["Toys"])]
Sku = Annotated[
    str, Meta(max_length=40, pattern=r"^[A-Z0-9][A-Z0-9-]*(?![\s\S])", examples=["TOYS-1"])
]
CursorText = Annotated[str, Meta(max_length=1000, description="`next` of the previous page")]

# Raised for text that is not Base64 or JSON, has other types or is nested too deeply.
CURSOR_ERRORS = (ValueError, RecursionError)


class CategoryIn(Struct, forbid_unknown_fields=True):
    """Category in a request."""

    name: CategoryName


class CategoryOut(Struct):
    """Category in a response."""

    id: int
    name: str


class CategoryCount(CategoryOut):
    """Category with the number of its products."""

    products: int


class ProductIn(Struct, forbid_unknown_fields=True):
    """Product in a request."""

    sku: Sku
    name: Name
    price_cents: Quantity
    category_id: Id
    stock: Quantity = 0
    # {% if cookiecutter.__auth %}
    draft: bool = False
    # {% endif %}


class ProductOut(Struct):
    """Product in a response. The `ETag` header is its version."""

    id: int
    sku: str
    name: str
    price_cents: int
    stock: int
    category: CategoryOut
    # {% if cookiecutter.__auth %}
    draft: bool
    # {% endif %}


class ConditionalHeaders(Struct, rename={"if_match": "If-Match"}):
    """Headers of a conditional request: `If-Match` is the `ETag` that the client has read."""

    if_match: str = ""


class ProductQuery(Struct, forbid_unknown_fields=True, frozen=True):
    """Query string of the product list."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: CursorText | None = None
    category_id: Id | None = None
    sold_out: bool = False


class ProductPage(Struct):
    """Page of products. Send `next` as `after` to get the next page; it is null on the last one."""

    items: list[ProductOut]
    next: str | None


class Cursor(Struct, array_like=True):
    """Position in the product list: the sort key of the last product on a page."""

    name: Name
    id: Id

    def encode(self) -> str:
        """Return the cursor as URL-safe text."""
        return urlsafe_b64encode(json.encode(self)).decode()

    @classmethod
    def decode(cls, text: str) -> Self:
        """Parse the text of a cursor; raise a validation error (422) if it is invalid."""
        try:
            return json.decode(urlsafe_b64decode(text), type=cls)
        except CURSOR_ERRORS:
            raise UnprocessableContent(FieldError("after", "Invalid cursor")) from None
