"""The table of security events."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
# {% if cookiecutter.__catalog_jobs %}
down_revision = "0003"
# {% elif cookiecutter.__catalog %}
down_revision = "0001"
# {% else %}
down_revision = None
# {% endif %}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit_event",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("security_event", sa.String(length=40), nullable=False),
        sa.Column("actor", sa.String(length=255), nullable=False),
        sa.Column("subject", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("request_id", sa.String(length=64), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit_event")),
    )
    op.create_index(op.f("ix_audit_event_created_at"), "audit_event", ["created_at"])
    op.create_index(op.f("ix_audit_event_subject"), "audit_event", ["subject"])


def downgrade() -> None:
    op.drop_table("audit_event")
