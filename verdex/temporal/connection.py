"""The connection to the Temporal service, and its errors in verdex's own terms."""

import dataclasses
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Final

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.api.taskqueue.v1 import PollerInfo, TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, Plugin
from temporalio.common import MetricMeter
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.envconfig import ClientConfig, ClientConnectConfig
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    PrometheusConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)
from temporalio.service import RPCError, RPCStatusCode

from verdex.errors import SettingsError, TemporalUnavailable
from verdex.temporal.failures import ReadableFailures
from verdex.temporal.propagation import Propagation

DATA_CONVERTER: Final = dataclasses.replace(pydantic_data_converter, failure_converter_class=ReadableFailures)
"""How inputs, results and failures are written into histories; the same for everybody who reads them."""
DEFAULT_ADDRESS: Final = "localhost:7233"
RPC_TIMEOUT: Final = timedelta(seconds=10)
POLLER_IS_GONE_AFTER: Final = timedelta(seconds=75)
"""A worker polls for up to a minute at a time."""

_logger = logging.getLogger(__name__)

_UNAVAILABLE: Final = (
    RPCStatusCode.UNAVAILABLE,
    RPCStatusCode.DEADLINE_EXCEEDED,
    RPCStatusCode.CANCELLED,
    RPCStatusCode.RESOURCE_EXHAUSTED,
)


@contextmanager
def translated() -> Iterator[None]:
    """Raise `TemporalUnavailable` where the service does not answer, `SettingsError` where it lacks the namespace."""
    try:
        yield
    except RPCError as error:
        if error.status in _UNAVAILABLE:
            raise TemporalUnavailable(f"Temporal is not available: {error.message}") from error
        if error.status == RPCStatusCode.NOT_FOUND and "namespace" in error.message.lower():
            raise SettingsError(f"TEMPORAL_NAMESPACE is wrong: {error.message}") from error
        raise
    except ValueError as error:  # at the first call of a lazy client
        raise SettingsError(f"TEMPORAL_ADDRESS is {_config().get('target_host')!r}: {error}") from None
    except RuntimeError as error:
        if "Failed client connect" not in str(error):
            raise
        raise TemporalUnavailable(f"Temporal does not answer at {_config().get('target_host')}") from error


@contextmanager
def unless_gone() -> Iterator[None]:
    """As `translated`; the block ends in silence where the workflow does not exist, or not run, any more."""
    try:
        with translated():
            yield
    except RPCError as error:
        if error.status != RPCStatusCode.NOT_FOUND:
            raise


def _config(environment: Mapping[str, str] | None = None) -> ClientConnectConfig:
    try:
        config = ClientConfig.load_client_connect_config(override_env_vars=environment)
    except RuntimeError as error:
        raise SettingsError(f"Temporal's configuration cannot be read: {error}") from None
    config.setdefault("target_host", DEFAULT_ADDRESS)
    return config


def namespace() -> str:
    """The namespace that the environment and the configuration file lead to."""
    return _config().get("namespace", "default")


@cache
def _runtime() -> Runtime:
    """One a process."""
    return _new_runtime(None)


def _new_runtime(metrics: PrometheusConfig | None) -> Runtime:
    """Temporal's core would write log lines of its own, and to stdout."""
    forwarded = LogForwardingConfig(logger=logging.getLogger("temporalio.core"))
    levels = TelemetryFilter(core_level="WARN", other_level="ERROR")
    log = LoggingConfig(filter=levels, forwarding=forwarded)
    return Runtime(telemetry=TelemetryConfig(logging=log, metrics=metrics, attach_service_name=False))


def serving_runtime(address: str, buckets: Mapping[str, Sequence[float]]) -> Runtime:
    """A runtime that serves metrics over HTTP at `address`, where nobody else listens; else one without metrics.

    Counters get `_total` behind their name. `buckets` are the upper bounds of histograms, by their name.
    """
    served = PrometheusConfig(
        address,
        counters_total_suffix=True,
        unit_suffix=True,
        durations_as_seconds=True,
        histogram_bucket_overrides=buckets,
    )
    try:
        return _new_runtime(served)
    except ValueError as error:  # jobs go on without metrics
        _logger.error("no metrics: VERDEX_METRICS_ADDRESS is %r: %s", address, error)  # noqa: TRY400  (one line)
        return _runtime()


def meter(client: Client) -> MetricMeter:
    """Where the metrics of a connection are served; a meter that does nothing where they are not."""
    runtime = client.service_client.config.runtime
    return runtime.metric_meter if runtime else MetricMeter.noop


async def connect(
    *,
    lazy: bool = False,
    for_worker: bool = True,
    environment: Mapping[str, str] | None = None,
    runtime: Runtime | None = None,
) -> Client:
    """Connect as Temporal's own environment variables and configuration file say; if lazy, at the first call.

    `environment` takes the place of that of the process, `runtime` that of the one without metrics. A worker cannot use
    a connection that is not `for_worker`; to make such a one takes less time.

    Raises:
        SettingsError: the configuration cannot be read.
        TemporalUnavailable: nobody answers at the address.
    """
    config = _config(environment)
    address = config["target_host"]
    try:
        return await Client.connect(
            **config,
            data_converter=DATA_CONVERTER,
            plugins=[_open_telemetry()] if for_worker else [],
            interceptors=[] if for_worker else [Propagation()],
            lazy=lazy,
            runtime=runtime or _runtime(),
        )
    except RuntimeError as error:
        raise TemporalUnavailable(f"Temporal does not answer at {address}") from error
    except ValueError as error:
        raise SettingsError(f"TEMPORAL_ADDRESS is {address!r}: {error}") from None


def _open_telemetry() -> Plugin:
    from temporalio.contrib.opentelemetry import OpenTelemetryPlugin  # noqa: PLC0415  (slow to import)

    return OpenTelemetryPlugin()


async def pollers(
    client: Client, task_queue: str, kind: "TaskQueueType.ValueType" = TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW
) -> Sequence[PollerInfo]:
    """Who has asked for tasks of this kind lately; raises as `translated`."""
    request = DescribeTaskQueueRequest(
        namespace=client.namespace, task_queue=TaskQueue(name=task_queue), task_queue_type=kind
    )
    with translated():
        return (await client.workflow_service.describe_task_queue(request, timeout=RPC_TIMEOUT)).pollers


async def has_poller(client: Client, task_queue: str, *, since: float | None = None) -> bool:
    """Whether a worker asks for the workflows of the task queue; `since`, in seconds since 1970, for a new one."""
    found = await pollers(client, task_queue)
    oldest = datetime.fromtimestamp(since, UTC) if since else datetime.now(UTC) - POLLER_IS_GONE_AFTER
    return any(poller.last_access_time.ToDatetime(UTC) >= oldest for poller in found)
