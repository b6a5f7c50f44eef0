"""`/metrics`: what Prometheus scrapes."""

from collections.abc import Iterable, Iterator

from flask import Blueprint, Response, request
from prometheus_client import CollectorRegistry
from prometheus_client.core import Metric
from prometheus_client.exposition import choose_encoder

from worker.database.error_kinds import is_of_another_revision, kind_of
from worker.web.access import Access, refuse_to_watch
from worker.web.metric_families import families
from worker.web.metric_source import MetricSource


class _Collected:
    """The families of one scrape, as prometheus_client asks for them."""

    def __init__(self, found: Iterable[Metric]) -> None:
        self._found = list(found)

    def collect(self) -> Iterator[Metric]:
        yield from self._found


def metric_routes(access: Access, source: MetricSource) -> Blueprint:
    """The route."""
    routes = Blueprint("metrics", __name__)

    @routes.get("/metrics")
    def metrics() -> Response:
        if not access.may_watch():
            return refuse_to_watch()
        try:
            found = _Collected(families(source.read()))
        except Exception as error:
            if (words := _fault(error)) is None:
                raise
            return _said(503, words)
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        registry = CollectorRegistry(auto_describe=False)
        registry.register(found)
        return Response(encode(registry), headers={"Content-Type": content_type, "Cache-Control": "no-store"})

    return routes


def _fault(error: Exception) -> str | None:
    """What is wrong with the database, not in the error's own words: they name hosts and users. None for a defect."""
    if isinstance(error, TimeoutError):
        return "the database has not answered yet"
    if is_of_another_revision(error):
        return "the database is not at a revision that this release can read"
    kind = kind_of(error)
    return None if kind is None else kind.words


def _said(status: int, text: str) -> Response:
    headers = {"Cache-Control": "no-store", **({"WWW-Authenticate": "Bearer"} if status == 401 else {})}
    return Response(f"{text}\n", status, mimetype="text/plain", headers=headers)
