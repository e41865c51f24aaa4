"""Building an image: mmdebstrap, then what its form needs. Complete or not at all."""

from __future__ import annotations

import contextlib
import io
import json
import os
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ghostdesk.engines.images.failures import failure_of, step_of
from ghostdesk.engines.images.files import files_tar, image_files, runtime_version
from ghostdesk.engines.images.recipe import (
    Content,
    Form,
    Recipe,
    check_recipe,
    disk_bytes,
    metadata_yaml,
    mmdebstrap_command,
    plan_of,
    room_bytes,
)
from ghostdesk.engines.libvirt.guest_files import FIRST_PROCESS
from ghostdesk.engines.libvirt.kernel_image import first_root
from ghostdesk.kernel.errors import ConfigError, EngineError, InsufficientCapacity, MissingRequirement

Progress = Callable[[str], None]
_MOST_LINES = 400
MANIFEST = "image.json"


@dataclass(frozen=True, slots=True)
class BuiltImage:
    """What a build has made.

    Args:
        folder: where it is.
        manifest: what is in `image.json` there: the plan, sizes in bytes, how long it took.
    """

    folder: Path
    manifest: dict[str, Any]


def build_image(
    recipe: Recipe, folder: Path, *, replace: bool = False, progress: Progress = lambda _: None
) -> BuiltImage:
    """Build the image into `folder`, which appears once all is there.

    Args:
        recipe: what is asked for.
        folder: where the image's files go; its parent must exist or be makeable.
        replace: whether an image that is there already is replaced.
        progress: is told each step.

    Raises:
        ConfigError: the recipe, or the folder, will not do.
        MissingRequirement: a program, a right, or a way to run the architecture's programs is missing.
        InsufficientCapacity: too little space.
        EngineError: no network, an unknown package, or whatever else mmdebstrap says.
    """
    check_recipe(recipe)
    _check_host(recipe)
    if folder.exists() and not (replace and (folder / MANIFEST).exists()):
        raise ConfigError(
            f"{folder} is there already.", "Give another --output, or --replace if it is an image that may go."
        )
    began_s = time.monotonic()
    with clear_disk_errors(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _check_room(recipe, folder.parent)
        beside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            beside.chmod(0o755)
            runtime = _make(recipe, beside, progress)
            sizes = {path.name: path.stat().st_size for path in sorted(beside.iterdir())}
            manifest = {
                **plan_of(recipe), "runtime": runtime, "files_bytes": sizes,
                "built_in_s": round(time.monotonic() - began_s, 1),
            }  # fmt: skip
            (beside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
            if folder.exists():
                shutil.rmtree(folder)
            beside.rename(folder)
        finally:
            shutil.rmtree(beside, ignore_errors=True)
    return BuiltImage(folder, manifest)


def read_image(folder: Path) -> BuiltImage:
    """An image that was built before; raises `ConfigError` when there is none."""
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
        if not isinstance(manifest, dict) or manifest.get("for") not in list(Form):
            raise ValueError("no manifest")
    except (OSError, ValueError):
        raise ConfigError(f"{folder} holds no image.", "Make one with `ghostdesk image build`.") from None
    return BuiltImage(folder, manifest)


def _check_host(recipe: Recipe) -> None:
    needed = ["mmdebstrap"] + (["mkfs.ext4"] if recipe.form is Form.VM else [])
    for program in needed:
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            package = "e2fsprogs" if program == "mkfs.ext4" else program
            raise MissingRequirement(f"{program} is not installed here.", f"apt-get install {package}")
    if recipe.form is Form.VM and os.geteuid() != 0:
        raise MissingRequirement("A disk for virtual machines is made by root alone.", "Run this as root, with sudo.")
    native = _native_architecture()
    if recipe.architecture != native and not _runs_foreign(recipe.architecture):
        raise MissingRequirement(
            f"Programs for {recipe.architecture} do not run on this {native} machine.",
            "Build it on such a machine, or apt-get install qemu-user-static binfmt-support here.",
        )


def _native_architecture() -> str:
    try:
        done = subprocess.run(["dpkg", "--print-architecture"], capture_output=True, text=True, check=True, timeout=30)
    except (OSError, subprocess.SubprocessError):
        raise MissingRequirement(
            "This is no Debian: there is no dpkg.", "Build images on Debian or Ubuntu, or in a container of it."
        ) from None
    return done.stdout.strip()


def _runs_foreign(architecture: str) -> bool:
    name = {"arm64": "aarch64", "amd64": "x86_64"}[architecture]
    return Path(f"/proc/sys/fs/binfmt_misc/qemu-{name}").exists()


def _check_room(recipe: Recipe, folder: Path) -> None:
    free, needed = shutil.disk_usage(folder).free, room_bytes(recipe)
    if free < needed:
        raise InsufficientCapacity(
            f"{folder} has {free / 1e9:.1f} GB free, and the build takes up to {needed / 1e9:.1f}.",
            "Free space there, or give --output on another disk.",
        )


@contextlib.contextmanager
def clear_disk_errors(folder: Path) -> Iterator[None]:
    """Errors of the disk in words."""
    try:
        yield
    except OSError as error:
        if error.errno in {28, 122}:
            raise InsufficientCapacity(
                f"The disk of {folder} is full.", "Free space there, or give --output on another disk."
            ) from error
        raise EngineError(
            f"{folder} cannot be written: {error.strerror or error}.", "Give another --output."
        ) from error


def _make(recipe: Recipe, folder: Path, progress: Progress) -> str:
    """Everything but the manifest, in `folder`; which runtime it holds."""
    with tempfile.TemporaryDirectory(prefix=".build.", dir=folder.parent) as work:
        files = Path(work) / "files.tar"
        files.write_bytes(files_tar(image_files(recipe.form)))
        root = folder / "rootfs.tar" if recipe.form is Form.INCUS else Path(work) / "root"
        kernel = Path(work) / "kernel"
        kernel.mkdir()
        wants_kernel = recipe.form is Form.VM and recipe.content is Content.DESKTOP
        command = mmdebstrap_command(
            recipe, str(root), str(files), root=os.geteuid() == 0, kernel=str(kernel) if wants_kernel else ""
        )
        run_mmdebstrap(command, recipe, progress, scratch=Path(work))
        if recipe.form is Form.VM:
            if wants_kernel:
                progress("making the first root")
                _boot_files(kernel, root, folder)
            progress("making the disk")
            _make_disk(recipe, root, folder / "disk.raw")
        else:
            _write_metadata(recipe, folder / "metadata.tar")
    return runtime_version(recipe.form)


def _write_metadata(recipe: Recipe, path: Path) -> None:
    text = metadata_yaml(recipe, runtime_version(), int(time.time())).encode()
    with tarfile.open(path, "w", format=tarfile.GNU_FORMAT) as tar:
        entry = tarfile.TarInfo("metadata.yaml")
        entry.size, entry.mode = len(text), 0o644
        tar.addfile(entry, io.BytesIO(text))


def run_mmdebstrap(command: Sequence[str], recipe: Recipe, progress: Progress, *, scratch: Path) -> None:
    """Run it, telling its steps; raises as `build_image`."""
    variables = {**os.environ, "TMPDIR": str(scratch), "LC_ALL": "C.UTF-8", "DEBIAN_FRONTEND": "noninteractive"}
    lines: list[str] = []
    try:
        running = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            errors="replace", env=variables, cwd="/",
        )  # fmt: skip
    except OSError as error:
        raise MissingRequirement(
            f"mmdebstrap cannot be run: {error.strerror}.", "apt-get install mmdebstrap"
        ) from error
    with running:
        try:
            assert running.stdout is not None
            for line in running.stdout:
                lines.append(line.rstrip())
                del lines[:-_MOST_LINES]
                if step := step_of(line):
                    progress(step)
        except BaseException:  # interrupted: it unmounts what it has mounted
            running.terminate()
            raise
    if running.returncode != 0:
        raise failure_of(lines, recipe)


def _boot_files(packages: Path, root: Path, folder: Path) -> None:
    """The kernel out of its package, and the first root that finds the disk."""
    package = next(packages.glob("linux-image-*.deb"), None)
    if package is None:
        raise EngineError("The kernel's package was not fetched.", "Does the mirror have it? See --mirror.")
    unpacked = packages / "unpacked"
    subprocess.run(["dpkg-deb", "-x", str(package), str(unpacked)], check=True, capture_output=True, timeout=600)
    shutil.copyfile(next((unpacked / "boot").glob("vmlinuz-*")), folder / "vmlinuz")
    busybox = (root / "bin" / "busybox").read_bytes()
    (folder / "initrd").write_bytes(first_root(unpacked / "lib" / "modules", busybox, FIRST_PROCESS.read_bytes()))


def _make_disk(recipe: Recipe, root: Path, disk: Path) -> None:
    """A disk of one ext4 file system with this tree."""
    with disk.open("wb") as stream:
        stream.truncate(disk_bytes(_used_bytes(root), recipe.spare_bytes))
    options = ["-q", "-F", "-L", "ghostdesk", "-m", "0", "-O", "^has_journal", "-E", "lazy_itable_init=1,nodiscard"]
    command = ["/usr/sbin/mkfs.ext4", *options, "-d", str(root), str(disk)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    if made.returncode != 0:
        raise EngineError(f"The disk could not be made: {made.stderr.strip()[-300:]}.", "Is there space enough?")


def _used_bytes(root: Path) -> int:
    """What a tree takes in blocks of 4 KiB, each link to a file counted once."""
    seen: set[int] = set()
    total = 0
    for folder, names, files in os.walk(root):
        for name in [*names, *files]:
            status = Path(folder, name).lstat()
            if status.st_ino not in seen:
                seen.add(status.st_ino)
                total += -(-status.st_size // 4096) * 4096 + 256
    return total
