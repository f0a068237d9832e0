"""The HTTP server: the page, and the endpoint ``POST /score``."""

import io
import os
import socket
from typing import Any

from speechtools.core.errors import AudioError, ConfigError
from speechtools.web.analysis import Limits, Models, as_dict, score


def check_packages() -> None:
    """Refuse to go on without the packages of the extra ``web``.

    Raises
    ------
    ConfigError
        One is missing.
    """
    # Nothing is sent anywhere, and no font or script is fetched.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    try:
        import gradio  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            f'The page needs gradio ({error}). Install it with pip install "speechtools[web]".'
        ) from error


def make_app(models: Models) -> Any:
    """The application (ASGI) with the page at ``/`` and the endpoint at ``/score``."""
    check_packages()
    import gradio
    from fastapi import FastAPI, Request
    from fastapi.responses import JSONResponse
    from starlette.concurrency import run_in_threadpool

    from speechtools.web.page import STYLE, make_page, theme

    app = FastAPI(title="speechtools", docs_url=None, redoc_url=None, openapi_url=None)

    async def score_upload(request: Request) -> JSONResponse:
        try:
            name, data = await _upload(request, models.limits)
            if not data:
                raise AudioError("The request has no recording. Send it as the body, or as the form field `file`.")
            # As a file: short bytes would be taken for the name of one.
            scored = await run_in_threadpool(score, models, io.BytesIO(data), name)
        except _TooLargeError as error:
            return JSONResponse({"error": str(error)}, status_code=413)
        except AudioError as error:
            return JSONResponse({"error": str(error)}, status_code=422)
        return JSONResponse(as_dict(scored))

    # As text, since the annotation is a local name.
    score_upload.__annotations__ = {"request": Request}
    app.post("/score")(score_upload)
    options: dict[str, Any] = {"max_file_size": models.limits.num_bytes, "theme": theme(), "css": STYLE}
    return gradio.mount_gradio_app(app, make_page(models), path="/", footer_links=[], **options)


class _TooLargeError(Exception):
    """An upload is larger than the limit."""


async def _upload(request: Any, limits: Limits) -> tuple[str, bytes]:
    """Name and bytes of an upload, which is a form's ``file`` or the body; it is read up to the limit only."""
    too_large = _TooLargeError(f"The upload is larger than {limits.megabytes:g} MB, the limit of this server.")
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limits.num_bytes + 2**16:
        raise too_large
    received, read = 0, request.stream

    async def limited() -> Any:
        nonlocal received
        async for part in read():
            received += len(part)
            if received > limits.num_bytes + 2**16:
                raise too_large
            yield part

    if request.headers.get("content-type", "").startswith("multipart/form-data"):
        request.stream = limited
        async with request.form(max_files=1, max_part_size=limits.num_bytes) as form:
            file = form.get("file")
            if not hasattr(file, "read"):
                return "", b""
            return os.path.basename(file.filename or ""), await file.read()
    return "", b"".join([part async for part in limited()])


def serve(models: Models, host: str = "127.0.0.1", port: int = 8000) -> None:
    """Serve until Ctrl-C.

    Raises
    ------
    ConfigError
        A package is missing, or the address cannot be used.
    """
    check_packages()
    import uvicorn

    try:
        listening = socket.create_server((host, port), reuse_port=False)
    except (OSError, OverflowError) as error:
        raise ConfigError(f"--host={host} --port={port} cannot be used: {error}. Choose another port.") from error
    with listening:
        app = make_app(models)
        name = "localhost" if host == "0.0.0.0" else host
        print(f"http://{name}:{listening.getsockname()[1]}  (Ctrl-C ends it)", flush=True)
        uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[listening])
