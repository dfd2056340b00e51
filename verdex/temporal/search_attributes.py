"""The search attributes of jobs, by which Temporal's lists can be filtered. `temporal/setup-namespace.sh` has them too.

They are a copy for people: nothing in verdex reads them. A namespace may lack them, and then its jobs do as well. A
workflow that is terminated cannot say so any more, so its status stays what it was; Temporal's own says the rest.
"""

from collections.abc import Mapping
from typing import Final

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest, ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.common import (
    SearchAttributeKey,
    SearchAttributePair,
    SearchAttributeUpdate,
    TypedSearchAttributes,
)
from temporalio.service import RPCError, RPCStatusCode

from verdex.contracts import IndexRequest, JobStatus
from verdex.temporal.connection import RPC_TIMEOUT

PROJECT: Final = SearchAttributeKey.for_keyword("VerdexProject")
REPOSITORY: Final = SearchAttributeKey.for_keyword("VerdexRepository")
STATUS: Final = SearchAttributeKey.for_keyword("VerdexStatus")
ERROR_TYPE: Final = SearchAttributeKey.for_keyword("VerdexErrorType")
KEYS: Final = (PROJECT, REPOSITORY, STATUS, ERROR_TYPE)

NO_ERROR: Final = "none"
"""Not left out: a job that was started with all of them can rely on all of them when it ends."""

_KEYWORD: Final = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
_LIMIT: Final = 255
"""Characters that a Keyword can have where Temporal keeps its lists in PostgreSQL."""


def at_start(request: IndexRequest) -> TypedSearchAttributes:
    """Those of a job that no worker has taken up yet. Of a long path, the end."""
    first: JobStatus = "pending"
    return TypedSearchAttributes(
        [
            SearchAttributePair(PROJECT, request.project_id),
            SearchAttributePair(REPOSITORY, request.repo_path[-_LIMIT:]),
            SearchAttributePair(STATUS, first),
            SearchAttributePair(ERROR_TYPE, NO_ERROR),
        ]
    )


def changed(status: JobStatus, error_type: str | None) -> list[SearchAttributeUpdate[str]]:
    """What a job that has changed its status updates."""
    return [STATUS.value_set(status), ERROR_TYPE.value_set((error_type or NO_ERROR)[:_LIMIT])]


def are_refused(error: RPCError) -> bool:
    """Whether a workflow could not be started because the namespace lacks search attributes."""
    return error.status == RPCStatusCode.INVALID_ARGUMENT and "search attribute" in error.message.lower()


async def missing(client: Client) -> list[str]:
    """The names of those that the namespace of the connection lacks, or has in another type.

    Raises:
        RPCError: the service does not answer, or does not tell everybody.
    """
    request = ListSearchAttributesRequest(namespace=client.namespace)
    answer = await client.operator_service.list_search_attributes(request, timeout=RPC_TIMEOUT)
    found: Mapping[str, IndexedValueType.ValueType] = answer.custom_attributes
    return [key.name for key in KEYS if found.get(key.name) != _KEYWORD]


async def register(client: Client) -> None:
    """Create those that the namespace of the connection lacks; raises as `missing`."""
    if names := await missing(client):
        request = AddSearchAttributesRequest(
            namespace=client.namespace, search_attributes=dict.fromkeys(names, _KEYWORD)
        )
        await client.operator_service.add_search_attributes(request, timeout=RPC_TIMEOUT)
