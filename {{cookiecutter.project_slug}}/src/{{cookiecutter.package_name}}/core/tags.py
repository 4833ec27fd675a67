"""Tags of responses and values that are cached, by which they are invalidated."""

from collections.abc import Sequence
from typing import Any

# A name, or a model, which stands for the name of its table.
Tag = Any
Tags = Sequence[Tag]


def tag_names(tags: Tags) -> list[str]:
    """Return the names of tags."""
    return [str(getattr(tag, "__tablename__", tag)) for tag in tags]
