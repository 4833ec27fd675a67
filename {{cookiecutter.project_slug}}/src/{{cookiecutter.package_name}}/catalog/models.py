"""Database models."""

from datetime import datetime

# {% if cookiecutter.__auth %}
from sqlalchemy import CheckConstraint, ColumnElement, ForeignKey, Index, String, false, true
# {% else %}
from sqlalchemy import CheckConstraint, ForeignKey, Index, String
# {% endif %}
from sqlalchemy.orm import Mapped, mapped_column, relationship

# {% if cookiecutter.__auth %}
from ..core.auth import CreatedBy, Identity, UpdatedBy
# {% endif %}
from ..core.database import Base, partial_index, utcnow


class Category(Base):
    """Product category."""

    __tablename__ = "category"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(80), unique=True)


class Product(Base):
    """Product. `version` counts its changes, so that two writers cannot overwrite each other."""

    __tablename__ = "product"

    id: Mapped[int] = mapped_column(primary_key=True)
    sku: Mapped[str] = mapped_column(String(40), unique=True)
    name: Mapped[str] = mapped_column(String(120))
    price_cents: Mapped[int]
    stock: Mapped[int] = mapped_column(default=0)
    category_id: Mapped[int] = mapped_column(ForeignKey("category.id"))
    version: Mapped[int] = mapped_column()
    updated_at: Mapped[datetime] = mapped_column(default=utcnow, onupdate=utcnow)
    # {% if cookiecutter.__auth %}
    # The default in the database is for the previous release, while this one is deployed.
    draft: Mapped[bool] = mapped_column(default=False, server_default=false())
    created_by: Mapped[CreatedBy]
    updated_by: Mapped[UpdatedBy]
    # {% endif %}

    category: Mapped[Category] = relationship(lazy="raise")

    # {% if cookiecutter.__auth %}
    @classmethod
    def visible_to(cls, identity: Identity | None) -> ColumnElement[bool]:
        """Show drafts only to those who may change them."""
        if identity and "catalog:write" in identity.permissions:
            return true()
        return cls.draft.is_(False)

    # {% endif %}
    __mapper_args__ = {"version_id_col": version}
    __table_args__ = (
        CheckConstraint("price_cents >= 0", name="price_not_negative"),
        CheckConstraint("stock >= 0", name="stock_not_negative"),
        # The orders in which the list is paged: all products, and those of one category.
        Index(None, "name", "id"),
        Index(None, "category_id", "name", "id"),
        # Sold-out products: a partial index where the database has them.
        Index(None, "stock", "name", "id", **partial_index("stock = 0")),
        # IDs are never reused, so an old ETag cannot match another product.
        {"sqlite_autoincrement": True},
    )
