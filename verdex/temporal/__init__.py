"""The Temporal service: the connection, what it knows of jobs, and what it shows people of them."""

from verdex.temporal.connection import (
    DATA_CONVERTER,
    POLLER_IS_GONE_AFTER,
    RPC_TIMEOUT,
    connect,
    has_poller,
    meter,
    namespace,
    pollers,
    serving_runtime,
    translated,
    unless_gone,
)

__all__ = [
    "DATA_CONVERTER",
    "POLLER_IS_GONE_AFTER",
    "RPC_TIMEOUT",
    "connect",
    "has_poller",
    "meter",
    "namespace",
    "pollers",
    "serving_runtime",
    "translated",
    "unless_gone",
]
