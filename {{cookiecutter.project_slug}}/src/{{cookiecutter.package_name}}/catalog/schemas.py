"""What the catalog's API takes and gives."""

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Annotated, Self

from msgspec import Meta, Struct, convert, json

from ..errors import InvalidInput

Id = Annotated[int, Meta(ge=1, le=2**31 - 1)]
Cents = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Name = Annotated[str, Meta(min_length=1, max_length=120, pattern=r"^[^\x00-\x1f\x7f]+$")]
CategoryName = Annotated[str, Meta(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]
Sku = Annotated[str, Meta(pattern=r"^[A-Z0-9][A-Z0-9-]{0,39}$")]
Cursor = Annotated[str, Meta(max_length=1000, description="`next` of the page before")]


class CategoryInput(Struct, forbid_unknown_fields=True):
    """A category as a client writes it."""

    name: CategoryName


class CategoryOutput(Struct):
    """A category as a client reads it."""

    id: int
    name: str


class ProductInput(Struct, forbid_unknown_fields=True):
    """A product as a client writes it."""

    sku: Sku
    name: Name
    price_cents: Cents
    category_id: Id


class ProductOutput(Struct):
    """A product as a client reads it; its version is in the `ETag`."""

    id: int
    sku: str
    name: str
    price_cents: int
    category: CategoryOutput


class ProductQuery(Struct, forbid_unknown_fields=True):
    """Which products, and from where on."""

    limit: Annotated[int, Meta(ge=1, le=100)] = 20
    after: Cursor | None = None
    category_id: Id | None = None


class ProductPage(Struct):
    """Some products; `next` is to be asked for as `after`, and null at the end."""

    items: list[ProductOutput]
    next: str | None


class Position(Struct, array_like=True):
    """A product's place in the list; as text it is opaque to clients."""

    name: str
    id: Id

    def __str__(self) -> str:
        """Return text that is safe in a URL."""
        return urlsafe_b64encode(json.encode(self)).decode()

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote; anything else is the client's fault."""
        try:
            return json.decode(urlsafe_b64decode(text), type=cls)
        except ValueError:
            raise InvalidInput([{"field": "after", "problem": "is not a position"}]) from None


def product_output(product: object) -> ProductOutput:
    """Read a product from its row, and check it on the way out."""
    return convert(product, ProductOutput, from_attributes=True)


def category_output(category: object) -> CategoryOutput:
    """Read a category from its row, and check it on the way out."""
    return convert(category, CategoryOutput, from_attributes=True)
