"""The engine as the settings describe it."""

import tomllib
from pathlib import Path

import pytest
from fake_kubernetes import FakeKubernetes
from played_node import PlayedNode

from ghostdesk.config import load_settings
from ghostdesk.engines.kubernetes.engine import KubernetesEngine
from ghostdesk.ghosts.commands import Build
from ghostdesk.ghosts.ghost import DesktopTemplate
from ghostdesk.kernel.errors import ConfigError, MissingRequirement
from ghostdesk.kernel.ids import GhostId, TemplateId
from ghostdesk.kernel.resources import GIB, Resources


def settings(tmp_path: Path, text: str):
    path = tmp_path / "settings.toml"
    path.write_text(text)
    return load_settings(path)


async def test_an_engine_from_settings_builds_what_they_say(
    tmp_path: Path, cluster: FakeKubernetes, node: PlayedNode
) -> None:
    config = cluster.kubeconfig(tmp_path / "ghostdesk.yaml")
    told = settings(
        tmp_path,
        f'[engine]\nname = "kubernetes"\n[engine.kubernetes]\nkubeconfig = "{config}"\nnamespace = "desks"\n'
        'image = "registry.example.org/desktop:2"\nrequest_share = 0.5\nnode_selector = {desktops = "yes"}\n',
    )
    engine = KubernetesEngine.from_settings(told.engine, tmp_path / "state", tmp_path / "run")
    await engine.start()
    limits = Resources(cpu_cores=1, memory_bytes=GIB)
    outcome = await engine.apply(Build(GhostId("g1"), DesktopTemplate(TemplateId("office")), limits))
    assert outcome.ok, outcome.error
    (pod,) = cluster.of("pods")
    container = pod["spec"]["containers"][0]
    assert container["image"] == "registry.example.org/desktop:2"
    assert container["resources"]["requests"]["cpu"] == "500m"
    assert pod["spec"]["nodeSelector"] == {"desktops": "yes"}
    variables = {one["name"]: one.get("value") for one in container["env"]}
    assert variables["GHOSTDESK_AGENT_SOCKET"] == "/run/ghost/agent.sock"
    assert variables["HOME"] == "/home/user" and len(variables) == len(container["env"])
    await engine.stop(keep_ghosts=False)


def test_without_an_image_there_is_no_engine(tmp_path: Path) -> None:
    told = settings(tmp_path, '[engine]\nname = "kubernetes"\n')
    with pytest.raises(MissingRequirement, match=r"engine\.kubernetes\.image"):
        KubernetesEngine.from_settings(told.engine, tmp_path, tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        'pool = "Main"', 'pool = "a-b"', 'namespace = "Desks"', 'namespace = ""', 'transport = "carrier pigeon"',
        "request_share = 1.0", "request_share = 0.0", "request_share = nan", "home_bytes = 1", 'home_access = "all"',
        'pull_policy = "Sometimes"', "images = 1",
    ],
)  # fmt: skip
def test_wrong_settings_are_refused_by_name(tmp_path: Path, line: str) -> None:
    tomllib.loads(f"[engine.kubernetes]\n{line}\n")
    with pytest.raises(ConfigError, match=rf"engine\.kubernetes\.{line.split(maxsplit=1)[0]}"):
        settings(tmp_path, f"[engine.kubernetes]\n{line}\n")


def test_the_engine_is_found_by_its_entry_point() -> None:
    told = tomllib.loads((Path(__file__).parents[3] / "pyproject.toml").read_text())
    place = told["project"]["entry-points"]["ghostdesk.engines"]["kubernetes"]
    assert place == f"{KubernetesEngine.__module__}:{KubernetesEngine.__name__}"
