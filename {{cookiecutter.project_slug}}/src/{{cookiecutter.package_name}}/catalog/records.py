"""What only editors see of a product."""

from datetime import datetime

from flask import Blueprint

from ..core.access import requires
from ..core.api import operation
from ..core.errors import Problem
# {% if cookiecutter.__sql %}
from . import views
from .models import Product
# {% else %}
from . import api as views
from .entities import Product
# {% endif %}
from .schemas import ProductOut

blueprint = Blueprint("records", __name__, url_prefix="/api/v1")


class ProductRecord(ProductOut):
    """Product with the IDs of the users who created it and changed it last; null without a user."""

    updated_at: datetime
    created_by: str | None
    updated_by: str | None


@blueprint.get(f"{views.PRODUCT_ROUTE}/record")
@requires("catalog:write")
@operation("Products", {200: ProductRecord, 404: Problem})
def read_product_record(product_id: int) -> Product:
    """Return a product with the users who created it and changed it last."""
    return views.get_or_404(product_id)
