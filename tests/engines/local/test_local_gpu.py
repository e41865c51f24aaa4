"""A real engine on a host without a GPU: desktops are built all the same, and it is said why they draw in software."""

import subprocess
import sys
from pathlib import Path

import pytest
from gpu_trees import Tree as FakeTree
from gpu_trees import add_drm

from ghostdesk.engines.local import gpus
from ghostdesk.engines.local.engine import LocalEngine
from ghostdesk.engines.local.gpu_tree import Tree, drm_devices, nvidia_cards
from ghostdesk.engines.local.power_meter import PowerOptions
from ghostdesk.ghosts.commands import Build, Destroy, SetLimits
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import GhostId
from ghostdesk.kernel.resources import Resources

GHOST = GhostId("gpu1")


@pytest.fixture
def no_gpu() -> None:
    if drm_devices(Tree()) or nvidia_cards(Tree()):
        pytest.skip("this host has a GPU")


async def test_a_desktop_that_should_have_a_gpu_is_built_without(
    no_gpu: None, engine: LocalEngine, template: DesktopTemplate
) -> None:
    built = await engine.apply(Build(GHOST, template, Resources(gpu_share=0.5)))
    assert built.ok, built.error
    assert str(built.facts["gpu"]).startswith("none: There is no GPU")
    resized = await engine.apply(SetLimits(GHOST, Resources(gpu_share=0.5)))
    assert resized.facts["gpu_reason"] == "gpu-at-build"
    assert engine.capacity().gpu_share == 0.0
    (ability,) = [one for one in engine.abilities() if one.name == "gpu"]
    assert not ability.available
    assert ability.detail.startswith("no GPU")
    power = (await engine.conditions()).power
    assert power is not None and power.power_w > 0
    (told,) = [one for one in engine.abilities() if one.name == "power"]
    assert power.source in told.detail
    assert told.available != power.modelled
    assert (await engine.apply(Destroy(GHOST))).ok


async def test_shares_outlive_the_control_plane(
    desktop_host: None, open_dir: Path, tmp_path: Path, template: DesktopTemplate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a device tree in place of a card: real desktops, whose grants are found again by the next engine."""
    add_drm(FakeTree(tmp_path), 128, "0000:03:00.0", "amdgpu", "0x1002", 16 * 2**30)
    monkeypatch.setattr(gpus, "Tree", lambda: Tree(tmp_path))
    half, other = Resources(gpu_share=0.6), GhostId("gpu2")
    first = LocalEngine(open_dir / "state", open_dir / "run")
    await first.start()
    try:
        assert first.capacity().gpu_share == 1.0
        built = await first.apply(Build(GHOST, template, half))
        assert built.ok, built.error
        assert str(built.facts["gpu"]).startswith("60% of GPU 0000:03:00.0")
        assert "gpu" in str(built.facts["not_limited"])
        session = next(one for one in await first.observe() if one.ghost == GHOST)
        assert session.alive
    finally:
        await first.stop(keep_ghosts=True)
    second = LocalEngine(open_dir / "state", open_dir / "run")
    await second.start()
    try:
        refused = await second.apply(Build(other, template, half))
        assert refused.ok, refused.error
        assert refused.facts["gpu_reason"] == "gpu-full"
        await second.apply(Destroy(GHOST))
        await second.apply(Destroy(other))
        again = await second.apply(Build(other, template, half))
        assert str(again.facts["gpu"]).startswith("60% of GPU")
    finally:
        await second.stop(keep_ghosts=False)


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="gpu_sharing = 'some'"):
        LocalEngine(tmp_path / "state", tmp_path / "run", gpu_sharing="some")
    for options in ({"idle_w": 100.0, "busy_w": 50.0}, {"busy_w": 50.0}, {"idle_w": 50.0}, {"most_w": -1.0}):
        with pytest.raises(ConfigError, match="power"):
            PowerOptions(**options)


def test_the_check_of_a_real_card_says_that_there_is_none(no_gpu: None, tmp_path: Path) -> None:
    script = Path(__file__).parents[3] / "scripts" / "check-gpu"
    done = subprocess.run([sys.executable, script, tmp_path], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 77, done.stderr
    assert done.stdout.splitlines()[-1].startswith("no GPU: no DRM render node")
