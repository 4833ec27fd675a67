"""Columns of the example: whether a product is a draft, who created and who changed it."""

import sqlalchemy as sa
from alembic import op

from {{ cookiecutter.package_name }}.core.auth.authorship import ActorId

revision = "0006"
# {% if cookiecutter.__users %}
down_revision = "0005"
# {% else %}
down_revision = "0004"
# {% endif %}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "product", sa.Column("draft", sa.Boolean(), server_default=sa.false(), nullable=False)
    )
    op.add_column("product", sa.Column("created_by", ActorId, nullable=True))
    op.add_column("product", sa.Column("updated_by", ActorId, nullable=True))


def downgrade() -> None:
    op.drop_column("product", "updated_by")
    op.drop_column("product", "created_by")
    op.drop_column("product", "draft")
