"""Columns for the user who created a row, and the one who changed it last.

    created_by: Mapped[CreatedBy]
    updated_by: Mapped[UpdatedBy]

They contain IDs of identities, which SQLAlchemy sets at each INSERT and UPDATE. A worker acts for
the user whose request it completes. NULL means no user: a command, a schedule, an unknown client,
or a row that is older than the column.
"""

from typing import Annotated

from sqlalchemy import String
# {% if cookiecutter.database == "mysql" %}
from sqlalchemy.dialects import mysql
# {% endif %}
from sqlalchemy.orm import mapped_column

from .identity import MAX_ID_LENGTH, get_actor

# Text, since issuers choose the IDs of their users; no foreign key, since rows outlive users.
ActorId = String(MAX_ID_LENGTH)
# {% if cookiecutter.database == "mysql" %}
# IDs are case-sensitive, which MySQL's text is not by default.
ActorId = ActorId.with_variant(
    mysql.VARCHAR(MAX_ID_LENGTH, collation="utf8mb4_bin"), "mysql", "mariadb"
)
# {% endif %}

CreatedBy = Annotated[str | None, mapped_column(ActorId, default=get_actor)]
UpdatedBy = Annotated[str | None, mapped_column(ActorId, default=get_actor, onupdate=get_actor)]
