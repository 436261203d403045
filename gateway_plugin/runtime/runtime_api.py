"""The sidecar's HTTP: AIBrix's paths, bodies and errors."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from gateway_plugin.runtime.adapter_loading import AdapterLoading
from gateway_plugin.runtime.downloads import Downloads, HeldModel, ModelStatus
from gateway_plugin.runtime.engine_side import EngineSide, EngineSideError
from gateway_plugin.runtime.places import artifact_named, directory_name, local_directory
from gateway_plugin.runtime.remote_files import DownloadError
from gateway_plugin.runtime.runtime_metrics import RuntimeMetrics
from gateway_plugin.runtime.runtime_shapes import DownloadModel, ListModels, LoadLora, UnloadLora

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from gateway_plugin.runtime.runtime_settings import RuntimeSettings

_IDLE_LOOK_SECONDS = 0.5
"""Between two looks whether the engine has finished."""
_KINDS = {
    400: "ValidationError",
    404: "NotFoundError",
    408: "TimeoutError",
    409: "ConflictError",
    422: "ValidationError",
    502: "ConnectionError",
}


class Runtime:
    """What the sidecar is made of, and whether it is being drained."""

    def __init__(self, settings: RuntimeSettings) -> None:
        self.settings = settings
        self.downloads = Downloads(settings)
        self.engine = EngineSide(settings, time.monotonic)
        self.adapters = AdapterLoading(settings, self.downloads, self.engine)
        self.metrics = RuntimeMetrics(settings)
        self.draining = False

    async def not_ready(self) -> str:
        """Why no requests should come; empty when they may."""
        if self.draining:
            return "draining"
        return await self.engine.unhealthy() if self.settings.ready_asks_engine else ""

    async def drain(self, seconds: float) -> bool:
        """Takes the pod out of service and waits for the engine's last request; False when some still run."""
        self.draining = True
        deadline = time.monotonic() + seconds
        while await self.engine.requests():
            if time.monotonic() >= deadline:
                return False
            await asyncio.sleep(_IDLE_LOOK_SECONDS)
        return True

    async def close(self) -> None:
        await self.downloads.close()
        await self.engine.close()


def runtime_api(runtime: Runtime, *, docs: bool = False) -> FastAPI:
    """Closes what it uses when it ends."""

    @asynccontextmanager
    async def life(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await runtime.close()

    app = FastAPI(title="AI runtime sidecar", lifespan=life, docs_url="/docs" if docs else None, redoc_url=None)
    if not docs:
        app.openapi_url = None
    app.include_router(_operations(runtime))
    app.include_router(_adapters(runtime))
    app.include_router(_models(runtime))
    app.add_exception_handler(DownloadError, _download_failed)
    app.add_exception_handler(EngineSideError, _engine_failed)
    app.add_exception_handler(RequestValidationError, _not_understood)

    @app.middleware("http")
    async def counted(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        began = time.perf_counter()
        response = await call_next(request)
        route = request.scope.get("route")
        path = getattr(route, "path", "other")
        runtime.metrics.answered(request.method, path, response.status_code, time.perf_counter() - began)
        return response

    return app


def _operations(runtime: Runtime) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/ready")
    async def ready() -> JSONResponse:
        why = await runtime.not_ready()
        if why:
            return JSONResponse({"status": "not ready", "message": why}, 503)
        return JSONResponse({"status": "ready"})

    @router.api_route("/v1/drain", methods=["GET", "POST"])
    async def drain(seconds: float | None = None) -> dict[str, object]:
        most = runtime.settings.drain_seconds
        idle = await runtime.drain(most if seconds is None else min(seconds, most))
        return {"status": "drained" if idle else "timed out", "idle": idle}

    @router.get("/metrics")
    @router.get("/metrics/")
    async def metrics() -> Response:
        try:
            page = await runtime.engine.page()
        except EngineSideError:
            page = None
        return Response(runtime.metrics.render(page), media_type="text/plain; version=0.0.4; charset=utf-8")

    @router.get("/v1/models")
    async def models() -> Response:
        answer = await runtime.engine.models()
        return Response(answer.text, answer.status, media_type="application/json")

    return router


def _adapters(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix="/v1/lora_adapter")

    @router.post("/load")
    async def load(body: LoadLora) -> Response:
        name = body.lora_name
        if body.lora_path is not None:
            await runtime.engine.load(name, body.lora_path)
            return PlainTextResponse(f"Success: LoRA adapter '{name}' loaded successfully from '{body.lora_path}'.")
        assert body.artifact_url is not None, "the shape wants one of both"
        sent = {**(body.additional_config or {}), **(body.credentials or {})}
        credentials = runtime.adapters.credentials(body.credentials_secret, sent)
        path, answer = await runtime.adapters.load(name, body.artifact_url, credentials)
        message = f"LoRA adapter '{name}' is loaded from '{path}'"
        return JSONResponse(
            {"status": "success", "message": message, "local_path": path, "engine_response": answer.text[:500]}
        )

    @router.post("/unload")
    async def unload(body: UnloadLora) -> Response:
        answer = await runtime.engine.unload(body.lora_name)
        if body.cleanup_local:
            await runtime.adapters.clean(body.lora_name)
            return JSONResponse({"status": "success", "message": answer.text[:500]})
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    return router


def _models(runtime: Runtime) -> APIRouter:
    router = APIRouter(prefix="/v1/model")

    @router.post("/download")
    async def download(body: DownloadModel) -> dict[str, str]:
        artifact = artifact_named(body.model_uri)
        root = _directory(runtime.settings, body.local_dir)
        name = directory_name(artifact, body.model_name or "")
        config = {key: str(value) for key, value in (body.download_extra_config or {}).items()}
        found = runtime.downloads.model(root, name)
        force = config.get("force_download", "").lower() == "true" or runtime.settings.force
        if artifact.source == "path":
            found = HeldModel(name, str(local_directory(artifact)), artifact.url, ModelStatus.DOWNLOADED)
        elif force or found.status is not ModelStatus.DOWNLOADED or found.source != artifact.url:
            runtime.downloads.start(artifact, root, name, config, force=force)
            found = runtime.downloads.model(root, name)
        return {
            "model_name": name,
            "model_root_path": found.path,
            "source": artifact.source,
            "model_status": str(found.status),
        }

    @router.get("/list")
    async def listed(request: Request) -> dict[str, Any]:
        text = await request.body()
        body = ListModels.model_validate_json(text) if text.strip() else ListModels()
        root = _directory(runtime.settings, body.local_dir)
        held = await asyncio.to_thread(runtime.downloads.models, root)
        return {"object": "list", "data": [_card(one) for one in held]}

    return router


def _card(one: HeldModel) -> dict[str, Any]:
    card: dict[str, Any] = {
        "model_name": one.name,
        "model_root_path": one.path,
        "source": one.source,
        "model_status": str(one.status),
        "done_bytes": one.done_bytes,
        "total_bytes": one.total_bytes,
    }
    return card | ({"error": one.error} if one.error else {})


def _directory(settings: RuntimeSettings, asked: str | None) -> Path:
    """Only below what the sidecar was given: a request must not choose where files are written."""
    root = settings.model_directory
    if not asked:
        return root
    path = Path(asked)
    if not path.is_absolute() or not path.resolve().is_relative_to(root.resolve()):
        raise DownloadError(f"local_dir must be {root} or below it", status=400)
    return path


def _failed(message: str, status: int) -> JSONResponse:
    kind = _KINDS.get(status, "ServerError")
    body = {"object": "error", "message": message, "type": kind, "param": None, "code": status}
    return JSONResponse(body, status)


async def _download_failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, DownloadError), "registered for it"
    return _failed(str(error), error.status)


async def _engine_failed(_request: Request, error: Exception) -> Response:
    assert isinstance(error, EngineSideError), "registered for it"
    return _failed(str(error), error.status)


async def _not_understood(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError), "registered for it"
    first = error.errors()[0]
    return _failed(f"{'.'.join(map(str, first['loc']))}: {first['msg']}", 422)
