"""The addresses of a server."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.exceptions import HTTPException
from starlette.routing import Route

from papermage_core.errors import nearest
from papermage_core.serving import messages
from papermage_core.serving.content import BY_CONTENT_TYPE, check_charset
from papermage_core.serving.front import PAGE_POLICY, error_page, front_page, front_policy
from papermage_core.serving.messages import QUERY, RequestError
from papermage_core.serving.openapi import OUTPUTS, described
from papermage_core.serving.service import GoneError, Service
from papermage_core.serving.settings import Settings

__all__ = ["create_app"]

_log = logging.getLogger(__name__)
_KINDS = {**BY_CONTENT_TYPE, "multipart/form-data": "form"}
_TOOL = "/label-studio"
_POSTED = ("/predict", f"{_TOOL}/predict", f"{_TOOL}/setup")
_PATHS = ("/", *_POSTED, f"{_TOOL}/health", "/health", "/ready", "/metrics", "/openapi.json")
_OF_LABEL = "min_score."
"""What stands before the label whose entities are left out: ``min_score.Disease=0.8``."""
_GONE = 499
"""What the metrics count a request as whose client hung up."""
_NOT_FOUND = f"known here: {', '.join(_PATHS)}"


def create_app(settings: Settings, service: Service | None = None) -> FastAPI:
    """Return an ASGI application. It starts and stops its processes, unless it is given a service that others start."""
    own, service = service is None, service or Service(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        if own:
            await service.start()
        try:
            yield
        finally:
            if own:
                await service.stop()

    app = FastAPI(
        title="papermage",
        version=version("papermage_core"),
        lifespan=lifespan,
        routes=[
            Route("/predict", _Predict(service), methods=["POST"]),
            Route(f"{_TOOL}/predict", _Predict(service, "tasks"), methods=["POST"]),
            Route(f"{_TOOL}/setup", _Predict(service, "setup"), methods=["POST"]),
        ],
        docs_url=None,  # these pages would load scripts from elsewhere
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,  # to where a client says that this is
    )
    app.add_middleware(_Measured, service=service)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestError, _problem)

    @app.head("/", include_in_schema=False)
    @app.get("/", include_in_schema=False)
    async def front() -> Response:
        if not service.is_started:
            return _error_page(service.why_not())
        options = service.options
        most = f"at most {options.max_megabytes:g} MB, {options.max_pages} pages"
        page = front_page(service.model.labels, most)
        return HTMLResponse(page, headers={"Content-Security-Policy": front_policy()})

    @app.head(f"{_TOOL}/health", include_in_schema=False)
    @app.get(f"{_TOOL}/health", include_in_schema=False)
    @app.head("/health", include_in_schema=False)
    @app.get("/health")
    async def health() -> dict[str, str]:
        """Say that the server lives."""
        return {"status": "alive"}

    @app.head("/ready", include_in_schema=False)
    @app.get("/ready")
    async def ready() -> Response:
        """Say whether a request would be answered now: 200, or 503."""
        if service.is_ready:
            return JSONResponse({"status": "ready"})
        return _error(service.why_not())

    @app.head("/metrics", include_in_schema=False)
    @app.get("/metrics", response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return counts and times for Prometheus."""
        return PlainTextResponse(service.metrics_text(), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.head("/openapi.json", include_in_schema=False)
    @app.get("/openapi.json", include_in_schema=False)
    async def openapi() -> Response:
        return JSONResponse(described(app, service.model.labels))

    return app


class _Predict:
    """``/predict``: an ASGI application, as what FastAPI does for its functions takes as long as all the rest.

    What Label Studio sends is of a kind of its own.
    """

    def __init__(self, service: Service, kind: str = "") -> None:
        self._service, self._kind = service, kind

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        request = Request(scope)
        is_page = bool(scope["query_string"]) and request.query_params.get("output") == "page"
        try:
            asked = _asked(request)
            if self._kind:
                asked = _of_tool(asked, self._kind)
            answer = await self._service.answer(asked, receive)
            if (problem := messages.problem_of(answer)) is not None:
                raise problem
        except RequestError as problem:
            is_browser = "text/html" in request.headers.get("accept", "")
            await (_error_page(problem) if is_page and is_browser else _error(problem))(scope, receive, send)
        except GoneError:
            await Response(status_code=_GONE)(scope, receive, send)
        else:
            headers = {"Content-Security-Policy": PAGE_POLICY} if is_page else {}
            await Response(answer.body, headers=headers, media_type=answer.content_type)(scope, receive, send)


def _asked(request: Request) -> messages.Request:
    """Return what a request asks, without its body. Raises RequestError."""
    kind, content_type = _kind(request)
    coding = request.headers.get("content-encoding", "identity").strip().lower()
    if coding not in ("", "identity"):
        raise RequestError(
            415, f"compressed bodies ({coding[:40]!r}) are not read", "Content-Encoding", "send it plain"
        )
    asked = messages.Request(kind=kind, body=b"", content_type=content_type)
    if not request.scope["query_string"]:
        return asked
    query = request.query_params
    for name in query:
        if name not in QUERY and not name.startswith(_OF_LABEL):
            known = f"known here: {', '.join(QUERY)}"
            raise RequestError(400, f"unknown parameter {name[:100]!r}.{nearest(name, QUERY)}", "query", known)
        if len(query.getlist(name)) > 1:
            raise RequestError(400, f"{name} is given twice", "query", "give it once")
    if (output := query.get("output")) is not None:
        if output not in OUTPUTS:
            raise RequestError(400, f"output={output[:100]!r}", "query", f"expected one of {', '.join(OUTPUTS)}")
        asked.output = output
    if (merge := query.get("merge")) is not None:
        if merge.lower() not in ("true", "false"):
            raise RequestError(400, f"merge={merge[:100]!r}", "query", "expected true or false")
        asked.merge = merge.lower() == "true"
    asked.min_score = {
        name.removeprefix(_OF_LABEL): _share(name, score) for name, score in query.items() if name.startswith(_OF_LABEL)
    } or None
    if (score := query.get("min_score")) is not None:
        if asked.min_score is not None:
            do = "give one for all labels, or one for each"
            raise RequestError(400, "min_score is given for all labels and for some", "query", do)
        asked.min_score = _share("min_score", score)
    return asked


def _of_tool(asked: messages.Request, kind: str) -> messages.Request:
    if asked.kind != "json":
        raise RequestError(415, "this is for Label Studio", "Content-Type", "send texts and files to /predict")
    asked.kind, asked.output = kind, "tasks"
    return asked


def _share(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1
    if not 0 <= value <= 1:
        raise RequestError(400, f"{name[:100]}={text[:100]!r}", "query", "expected a number from 0 to 1")
    return value


def _kind(request: Request) -> tuple[str, str]:
    """Return the kind of a body, and its type of content. Raises RequestError for one that nobody reads."""
    content_type = request.headers.get("content-type", "")
    if (kind := _KINDS.get(content_type)) is not None:
        return kind, content_type
    kind = _KINDS.get(content_type.partition(";")[0].strip().lower())
    if kind is None:
        what = f"Content-Type {content_type[:100]!r} is not read" if content_type else "there is no Content-Type"
        raise RequestError(415, what, "Content-Type", f"send one of {', '.join(_KINDS)}")
    check_charset(kind, content_type)
    return kind, content_type


def _error(problem: RequestError) -> Response:
    headers = {} if problem.retry_after is None else {"Retry-After": str(problem.retry_after)}
    return Response(problem.answer().body, problem.status, headers, media_type="application/json")


def _error_page(problem: RequestError) -> Response:
    headers = {"Content-Security-Policy": front_policy(answers=True)}
    if problem.retry_after is not None:
        headers["Retry-After"] = str(problem.retry_after)
    return HTMLResponse(error_page(problem), problem.status, headers)


async def _problem(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, RequestError)
    return _error(exc)


async def _http_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, HTTPException)
    do = _NOT_FOUND if exc.status_code == 404 else f"POST {', '.join(_POSTED)}; GET the others"
    answer = _error(RequestError(exc.status_code, str(exc.detail), do=do))
    answer.headers.update(exc.headers or {})
    if exc.status_code == 405:
        answer.headers["Allow"] = "POST" if request.url.path in _POSTED else "GET, HEAD"
    return answer


class _Measured:
    """Counts requests, by path and status, and their times; adds headers that all answers have."""

    def __init__(self, app: Any, service: Service) -> None:
        self._app, self._metrics = app, service.metrics

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        try:
            await self._app(scope, receive, send_with_headers)
        finally:
            path = scope["path"] if scope["path"] in _PATHS else "other"
            self._metrics.count("papermage_requests_total", path=path, status=str(status))
            self._metrics.observe("papermage_request_seconds", time.perf_counter() - start, path=path)


_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cache-control", b"no-store"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
