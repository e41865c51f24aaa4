"""A real kube-apiserver with a real etcd, started by the tests where both programs are found.

Looked for: GHOSTDESK_KUBE_APISERVER and GHOSTDESK_ETCD, else `kube-apiserver` and `etcd` on the PATH. There is no
controller manager, scheduler or kubelet: what those would do, `played_node` does.
"""

import contextlib
import json
import os
import shutil
import socket
import ssl
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ADMIN = "the-administrators-token"
_READY_WITHIN_S = 120.0


@dataclass(frozen=True)
class KubernetesServer:
    """A server that runs.

    Args:
        url, authority: where, and the file with its certificate's authority.
        folder: of its own.
        certificate: for a kubelet that the tests play.
    """

    url: str
    authority: Path
    folder: Path
    certificate: ssl.SSLContext

    def kubeconfig(self, path: Path, token: str) -> Path:
        cluster = {"server": self.url, "certificate-authority": str(self.authority)}
        told = {
            "apiVersion": "v1", "kind": "Config", "current-context": "real",
            "contexts": [{"name": "real", "context": {"cluster": "real", "user": "who"}}],
            "clusters": [{"name": "real", "cluster": cluster}],
            "users": [{"name": "who", "user": {"token": token}}],
        }  # fmt: skip
        path.write_text(json.dumps(told))
        return path


def programs() -> tuple[str, str] | None:
    """kube-apiserver and etcd, if both are here."""
    server = os.environ.get("GHOSTDESK_KUBE_APISERVER") or shutil.which("kube-apiserver")
    etcd = os.environ.get("GHOSTDESK_ETCD") or shutil.which("etcd")
    return (server, etcd) if server and etcd and shutil.which("openssl") else None


@contextlib.contextmanager
def kubernetes_server(found: tuple[str, str]) -> Iterator[KubernetesServer]:
    """Start one, in a folder of its own, and end it; raises RuntimeError with its last words when it does not start."""
    folder = Path(tempfile.mkdtemp(prefix="gdk", dir="/var/tmp"))
    started: list[subprocess.Popen[bytes]] = []
    try:
        etcd_port, peer_port, port = _free_ports(3)
        _certificates(folder)
        log = (folder / "log").open("wb")
        address = f"http://127.0.0.1:{etcd_port}"
        etcd = [found[1], "--data-dir", str(folder / "etcd"), "--listen-client-urls", address,
                "--advertise-client-urls", address, "--listen-peer-urls", f"http://127.0.0.1:{peer_port}",]  # fmt: skip
        (folder / "tokens.csv").write_text(f'{ADMIN},administrator,1,"system:masters"\n')
        server = [
            found[0], "--etcd-servers", address, "--secure-port", str(port), "--bind-address", "127.0.0.1",
            "--tls-cert-file", str(folder / "server.pem"), "--tls-private-key-file", str(folder / "server.key"),
            "--service-account-key-file", str(folder / "server.pem"),
            "--service-account-signing-key-file", str(folder / "server.key"),
            "--service-account-issuer", "https://kubernetes.default.svc",
            "--api-audiences", "https://kubernetes.default.svc",
            "--authorization-mode", "RBAC", "--token-auth-file", str(folder / "tokens.csv"),
            "--service-cluster-ip-range", "10.96.0.0/16", "--allow-privileged=false",
        ]  # fmt: skip
        for command in (etcd, server):
            started.append(subprocess.Popen(command, stdout=log, stderr=log, cwd=folder))
        log.close()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.pem", folder / "server.key")
        running = KubernetesServer(f"https://127.0.0.1:{port}", folder / "server.pem", folder, context)
        _await_ready(running, started)
        yield running
    finally:
        for process in reversed(started):
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _certificates(folder: Path) -> None:
    words = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1"
    files = ["-keyout", str(folder / "server.key"), "-out", str(folder / "server.pem")]
    subprocess.run([*words.split(), *files], check=True, capture_output=True)


def _await_ready(server: KubernetesServer, started: list["subprocess.Popen[bytes]"]) -> None:
    context = ssl.create_default_context(cafile=str(server.authority))
    request = urllib.request.Request(f"{server.url}/readyz", headers={"Authorization": f"Bearer {ADMIN}"})  # noqa: S310 - our own
    deadline_s = time.monotonic() + _READY_WITHIN_S
    while True:
        try:
            with urllib.request.urlopen(request, context=context, timeout=5):  # noqa: S310
                return
        except (urllib.error.URLError, OSError) as error:
            dead = any(process.poll() is not None for process in started)
            if dead or time.monotonic() > deadline_s:
                words = (server.folder / "log").read_text(errors="replace")[-1500:]
                raise RuntimeError(f"kube-apiserver does not start here: {error}\n{words}") from None
            time.sleep(0.2)


def _free_ports(count: int) -> list[int]:
    held = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    try:
        return [one.getsockname()[1] for one in held]
    finally:
        for one in held:
            one.close()


def collection(one: dict[str, Any]) -> str:
    """Where an object of our manifests is made."""
    plural = {
        "Namespace": "namespaces", "PriorityClass": "priorityclasses", "ServiceAccount": "serviceaccounts",
        "Role": "roles", "RoleBinding": "rolebindings", "ClusterRole": "clusterroles",
        "ClusterRoleBinding": "clusterrolebindings", "NetworkPolicy": "networkpolicies",
    }[one["kind"]]  # fmt: skip
    group = one["apiVersion"]
    base = f"/api/{group}" if "/" not in group else f"/apis/{group}"
    namespace = one["metadata"].get("namespace")
    return f"{base}/namespaces/{namespace}/{plural}" if namespace else f"{base}/{plural}"
