"""The built page, read once at start: no request reaches the file system, so no path leads astray or redirects."""

from __future__ import annotations

import gzip
import hashlib
import mimetypes
from dataclasses import dataclass
from pathlib import Path

from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

_GZIP_FROM_BYTES = 1024
_TEXT = frozenset({".html", ".js", ".css", ".svg", ".json", ".txt", ".map"})
NOT_BUILT = "The page has not been built. Run `make run`, or `npm ci && npm run build` in web/.\n"


@dataclass(frozen=True, slots=True)
class Asset:
    """One file of the page."""

    body: bytes
    zipped: bytes | None
    media_type: str
    etag: str
    cache: str


def load_page(static_dir: Path) -> dict[str, Asset]:
    """The page's files by their address; empty when the page has not been built."""
    if not (static_dir / "index.html").is_file():
        return {}
    assets = {
        f"/{path.relative_to(static_dir).as_posix()}": _asset(path)
        for path in sorted(static_dir.rglob("*"))
        if path.is_file() and not path.is_symlink()
    }
    return {"/": assets["/index.html"], **assets}


def _asset(path: Path) -> Asset:
    body = path.read_bytes()
    media_type = mimetypes.guess_type(path.name)[0] or "application/octet-stream"
    if path.suffix == ".js":
        media_type = "text/javascript"
    if path.suffix in _TEXT:
        media_type += "; charset=utf-8"
    zipped = gzip.compress(body, mtime=0) if path.suffix in _TEXT and len(body) >= _GZIP_FROM_BYTES else None
    named_by_content = path.parent.name == "assets"  # the build puts a hash into these names
    cache = "public, max-age=31536000, immutable" if named_by_content else "no-cache"
    return Asset(body, zipped, media_type, f'"{hashlib.sha256(body).hexdigest()[:20]}"', cache)


def serve_asset(request: Request, page: dict[str, Asset]) -> Response:
    """The file at the request's path, or 404."""
    if not page:
        return PlainTextResponse(NOT_BUILT, 503)
    asset = page.get(request.url.path)
    if asset is None:
        return PlainTextResponse("There is no such page.\n", 404)
    headers = {"ETag": asset.etag, "Cache-Control": asset.cache, "Vary": "Accept-Encoding"}
    if request.headers.get("if-none-match") == asset.etag:
        return Response(status_code=304, headers=headers)
    body = asset.body
    if asset.zipped is not None and "gzip" in request.headers.get("accept-encoding", ""):
        body, headers["Content-Encoding"] = asset.zipped, "gzip"
    return Response(body, headers={**headers, "Content-Type": asset.media_type})
