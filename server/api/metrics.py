"""GET /metrics: what the server measures of itself, as Prometheus reads it."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request, Response
from fastapi.security import HTTPBearer
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from server.api.deps import ContextDep
from server.api.openapi import problems
from server.errors import NotFound, Unauthorised

router = APIRouter()

METRICS_KEY = HTTPBearer(
    scheme_name="MetricsKey",
    description="The server's metrics key, where one is set.",
    auto_error=False,
)


class MetricsText(Response):
    """The exposition format of Prometheus, version 0.0.4."""

    media_type = "text/plain"


@router.get(
    "/metrics",
    response_class=MetricsText,
    dependencies=[Depends(METRICS_KEY)],
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **problems(Unauthorised, NotFound),
    },
    openapi_extra={"security": [{}]},  # a server without a metrics key asks for none
)
async def metrics(request: Request, context: ContextDep) -> MetricsText:
    """Counters, gauges and histograms of this server."""
    if not context.settings.metrics:
        raise NotFound("expected metrics to be on, got a server that has them off; ask elsewhere")
    context.access.check_metrics(request)
    text = generate_latest(context.telemetry.instruments.registry)
    return MetricsText(text, media_type=CONTENT_TYPE_PLAIN_0_0_4)
