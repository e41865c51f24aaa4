"""What goes into an image, compared with golden files (GHOSTDESK_WRITE_GOLDEN=1 writes them anew)."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ghostdesk.engines.images.recipe import (
    APPS,
    BINDS,
    MIB,
    RUNTIME,
    Content,
    Form,
    Recipe,
    check_recipe,
    disk_bytes,
    metadata_yaml,
    mmdebstrap_command,
    packages,
    plan_of,
    room_bytes,
)
from ghostdesk.kernel.errors import ConfigError

_GOLDEN = Path(__file__).parent / "golden"


def _is_golden(name: str, text: str) -> None:
    path = _GOLDEN / name
    if os.environ.get("GHOSTDESK_WRITE_GOLDEN"):
        path.write_text(text)
    assert text == path.read_text(), f"{name} differs"


@pytest.mark.parametrize("form", Form)
def test_plan_and_command_are_the_golden_ones(form: Form) -> None:
    recipe = Recipe(form)
    _is_golden(f"plan-{form}.json", json.dumps(plan_of(recipe), indent=1) + "\n")
    kernel = "/tmp/my kernel" if form is Form.VM else ""
    command = mmdebstrap_command(recipe, "/out/root", "/tmp/my files.tar", root=True, kernel=kernel)
    _is_golden(f"command-{form}.txt", "\n".join(command) + "\n")


def test_metadata_is_what_servers_import() -> None:
    text = metadata_yaml(Recipe(Form.INCUS), "0123456789abcdef", 1_700_000_000)
    _is_golden("metadata.yaml", text)
    properties = json.loads(text)["properties"]
    assert properties[BINDS] == "" and properties[RUNTIME] == "0123456789abcdef"


def test_without_root_namespaces_are_made() -> None:
    command = mmdebstrap_command(Recipe(Form.INCUS, mirror="http://m/debian"), "/o", "/f", root=False)
    assert "--mode=unshare" in command and command[-1] == "http://m/debian"


def test_a_skeleton_is_small_and_whole_images_need_room() -> None:
    skeleton = Recipe(Form.INCUS, content=Content.SKELETON)
    assert packages(skeleton) == ("busybox-static",)
    assert room_bytes(skeleton) < room_bytes(Recipe(Form.INCUS)) < room_bytes(Recipe(Form.INCUS, apps=("office",)))


@given(st.lists(st.sampled_from([*APPS, "htop", "vim"]), max_size=8), st.sampled_from(Form))
def test_every_application_asked_for_is_in_and_nothing_twice(apps: list[str], form: Form) -> None:
    recipe = Recipe(form, apps=tuple(apps))
    check_recipe(recipe)
    found = packages(recipe)
    assert len(set(found)) == len(found) and list(found) == sorted(found)
    for app in apps:
        assert set(APPS.get(app, (app,))) <= set(found)


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        (Recipe(Form.INCUS, name="../x"), "cannot be an image's name"),
        (Recipe(Form.INCUS, architecture="sparc"), "amd64, arm64"),
        (Recipe(Form.INCUS, suite="woody"), "bookworm"),
        (Recipe(Form.INCUS, mirror="ftp:x"), "no mirror"),
        (Recipe(Form.INCUS, apps=("--install",)), "neither an application nor a package"),
        (Recipe(Form.INCUS, apps=("a,b",)), "neither an application nor a package"),
    ],
)
def test_what_cannot_be_built_is_refused(recipe: Recipe, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_recipe(recipe)


@given(st.integers(0, 2**40), st.integers(0, 2**36))
def test_a_disk_holds_what_is_in_it(used: int, spare: int) -> None:
    size = disk_bytes(used, spare)
    assert size % MIB == 0 and size >= used + spare
