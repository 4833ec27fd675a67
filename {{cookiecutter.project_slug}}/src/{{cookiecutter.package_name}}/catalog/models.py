"""Tables: a category has many products."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column, relationship

from ..database import Base, partial
from ..database.types import now


class Category(Base):
    """What a customer browses by."""

    __tablename__ = "category"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)


class Product(Base):
    """What is sold. Two writers cannot overwrite each other: `version` counts the changes."""

    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    price_cents: Mapped[int]
    stock: Mapped[int] = mapped_column(default=0)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"))
    version: Mapped[int] = mapped_column()
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)

    category: Mapped[Category] = relationship(lazy="raise")

    __mapper_args__ = {"version_id_col": version}  # noqa: RUF012 - not changed
    __table_args__ = (
        CheckConstraint("price_cents >= 0", name="price_not_negative"),
        CheckConstraint("stock >= 0", name="stock_not_negative"),
        # Both orders in which the list is paged: all products, and those of one category.
        Index(None, "name", "id"),
        Index(None, "category_id", "name", "id"),
        # The few that are sold out: where a partial index exists, it holds only those.
        Index(None, "stock", "name", "id", **partial("stock = 0")),
        # An id is never used again: else an old ETag could match another product.
        {"sqlite_autoincrement": True},
    )
