"""RQ on Redis."""


class Broker:
    """..."""
