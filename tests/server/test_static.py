"""The page's files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ghostdesk.server.static import load_page


async def test_the_page_and_its_assets(world: Any) -> None:
    async with world.client(origin="", sec_fetch_site="") as client:
        page = await client.get("/")
        assert page.headers["content-type"] == "text/html; charset=utf-8"
        assert page.headers["cache-control"] == "no-cache"
        again = await client.get("/", headers={"If-None-Match": page.headers["etag"]})
        assert again.status_code == 304 and again.content == b""
        script = await client.get("/assets/main-ABC.js")
        assert script.headers["content-type"] == "text/javascript; charset=utf-8"
        assert "immutable" in script.headers["cache-control"]
        assert script.headers["content-encoding"] == "gzip"
        plain = await client.get("/assets/main-ABC.js", headers={"Accept-Encoding": "identity"})
        assert "content-encoding" not in plain.headers and plain.content == script.content
        assert (await client.head("/")).status_code == 200
        assert (await client.get("/nothing")).status_code == 404


async def test_a_page_that_is_not_built_says_how_to_build_it(world: Any, tmp_path: Path) -> None:
    assert load_page(tmp_path / "nowhere") == {}


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "page/index.html").write_text("page")
    (tmp_path / "page/out").symlink_to(tmp_path / "secret")
    assert set(load_page(tmp_path / "page")) == {"/", "/index.html"}
