"""What an operator applies: deploy/kubernetes is what the code says, valid, and the least that is needed."""

import os
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from typer.testing import CliRunner

from ghostdesk.cli import made
from ghostdesk.cli.kubernetes import as_yaml
from ghostdesk.engines.kubernetes import manifests
from ghostdesk.engines.kubernetes.cluster import CLUSTER_RIGHTS, FORWARD_RIGHTS, RESIZE_RIGHTS, RIGHTS

DEPLOY = Path(__file__).parents[3] / "deploy" / "kubernetes"
EVERY = [one for held in manifests.files().values() for one in held]


@pytest.mark.parametrize("name", sorted(manifests.files()))
def test_the_files_are_what_the_code_says(name: str) -> None:
    told = as_yaml(manifests.files()[name])
    if os.environ.get("WRITE_GOLDEN"):
        (DEPLOY / name).write_text(told)
    assert (DEPLOY / name).read_text() == told


@pytest.mark.parametrize("version", ["1.33", "1.37"])
@pytest.mark.parametrize("one", EVERY, ids=lambda one: f"{one['kind']}-{one['metadata']['name']}")
def test_they_keep_to_the_published_schema(one: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(one, version, strict=True)


@pytest.mark.parametrize("path", sorted((DEPLOY).glob("*.yaml")), ids=lambda path: path.name)
def test_every_file_of_the_folder_is_valid(path: Path) -> None:
    for one in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(one, "1.37", strict=True)


def test_the_account_may_do_what_the_engine_does_and_nothing_more() -> None:
    given = {
        (group, resource, verb)
        for one in EVERY
        if one["kind"] in ("Role", "ClusterRole")
        for rule in one["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert given == {*RIGHTS, *FORWARD_RIGHTS, *RESIZE_RIGHTS, *CLUSTER_RIGHTS}
    assert not any("*" in right for right in given)
    assert not given & {("", "secrets", verb) for verb in ("get", "list", "watch")}, "no secret is ever read"
    assert not given & {("", "persistentvolumeclaims", verb) for verb in ("delete", "patch", "update")}


def test_people_make_ghosts_leave_and_never_the_other_way() -> None:
    values = {one["metadata"]["name"]: one for one in manifests.priorities()}
    ghost, person = values["ghostdesk-ghost"], values["ghostdesk-person"]
    assert person["value"] > ghost["value"] and ghost["preemptionPolicy"] == "Never"
    assert person["preemptionPolicy"] == "PreemptLowerPriority"
    assert not ghost["globalDefault"] and not person["globalDefault"]


def test_only_the_gateway_is_let_in() -> None:
    policies = {one["metadata"]["name"]: one["spec"] for one in manifests.networks("desks")}
    alone = policies["desktops-alone"]
    assert alone["policyTypes"] == ["Ingress", "Egress"] and not {"ingress", "egress"} & alone.keys()
    let_in = policies["desktops-from-gateway"]["ingress"]
    assert [peer["podSelector"]["matchLabels"] for rule in let_in for peer in rule["from"]] == [manifests.GATEWAY]
    outside = policies["desktops-to-internet"]["egress"][0]["to"][0]["ipBlock"]
    assert "169.254.0.0/16" in outside["except"], "the cloud's metadata service is not the internet"


def test_the_command_prints_them_for_another_namespace() -> None:
    told = CliRunner().invoke(made("kubernetes"), ["kubernetes", "manifests", "--namespace", "lab"])
    assert told.exit_code == 0
    found = list(yaml.safe_load_all(told.stdout))
    assert found == [one for held in manifests.files("lab").values() for one in held]
    as_json = CliRunner().invoke(made("kubernetes"), ["kubernetes", "manifests", "--namespace", "lab", "--json"])
    assert yaml.safe_load(as_json.stdout)["items"] == found
    wrong = CliRunner().invoke(made("kubernetes"), ["kubernetes", "manifests", "--only", "nothing"])
    assert wrong.exit_code != 0
