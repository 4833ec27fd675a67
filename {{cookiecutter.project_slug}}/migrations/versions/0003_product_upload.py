"""Table of the example: product_upload."""

import sqlalchemy as sa
from alembic import op
# {% if cookiecutter.database == "mysql" %}
from sqlalchemy.dialects import mysql
# {% endif %}

revision = "0003"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "product_upload",
        sa.Column("id", sa.Integer(), nullable=False),
        # {% if cookiecutter.database == "mysql" %}
        sa.Column(
            "content",
            sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb"),
            nullable=False,
        ),
        # {% else %}
        sa.Column("content", sa.LargeBinary(), nullable=False),
        # {% endif %}
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("report", sa.JSON(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_product_upload")),
    )
    op.create_index(op.f("ix_product_upload_created_at"), "product_upload", ["created_at"])
    # {% if cookiecutter.database == "postgresql" %}
    if op.get_context().dialect.name == "postgresql":
        # Not compressed: a part of a file is read without the parts before it.
        op.execute("ALTER TABLE product_upload ALTER content SET STORAGE EXTERNAL")
    # {% endif %}


def downgrade() -> None:
    op.drop_table("product_upload")
