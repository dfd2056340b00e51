"""The trace of whoever starts a workflow goes with it, in the header in which OpenTelemetry's plugin looks for it.

For clients. The plugin does this as well, but brings along all that a worker is made of, which is slow to import.
"""

from typing import Any, Final

from opentelemetry.baggage.propagation import W3CBaggagePropagator
from opentelemetry.propagators.composite import CompositePropagator
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from temporalio.client import Interceptor, OutboundInterceptor, StartWorkflowInput, WorkflowHandle
from temporalio.converter import PayloadConverter

HEADER: Final = "_tracer-data"
_PROPAGATOR: Final = CompositePropagator([TraceContextTextMapPropagator(), W3CBaggagePropagator()])


class Propagation(Interceptor):
    """Hands on the current trace."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002
        """Stand before `next`."""
        return _Outbound(next)


class _Outbound(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        carrier: dict[str, str] = {}
        _PROPAGATOR.inject(carrier)
        if carrier:
            (header,) = PayloadConverter.default.to_payloads([carrier])
            input.headers = {**input.headers, HEADER: header}
        return await super().start_workflow(input)
