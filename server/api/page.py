"""GET / and /static: the page a person opens, when it is installed beside the server."""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

STATIC = Path(__file__).parents[2] / "client_demo" / "static"  # beside the server, not below it


def mount_page(app: FastAPI, folder: Path = STATIC) -> None:
    """Serve the page's folder; without one the API stands alone."""
    if not (folder / "index.html").exists():
        return
    app.mount("/static", StaticFiles(directory=folder), name="static")

    @app.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(folder / "index.html", headers={"Cache-Control": "no-cache"})
