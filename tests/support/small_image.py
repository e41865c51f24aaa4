"""A small desktop image for virtual machines, made of this host's own installed packages: nothing of it is downloaded
but Debian's kernel. Kept in a cache by what went in."""

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ghostdesk.engines.libvirt.guest_files import FIRST_PROCESS, guest_files
from ghostdesk.engines.libvirt.kernel_image import first_root

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "ghostdesk-tests"
_ROOTS = (
    "base-files base-passwd bash coreutils dash grep sed libc-bin mount util-linux hostname procps "
    "iproute2 busybox-static qemu-guest-agent xserver-xorg-core xserver-xorg-input-evdev xkb-data "
    "x11-xkb-utils x11-utils x11-xserver-utils xdotool openbox tint2 dbus dbus-bin dbus-daemon python3 "
    "python3-xlib fonts-dejavu-core hicolor-icon-theme adwaita-icon-theme shared-mime-info mousepad "
)
_LEFT_OUT = re.compile(
    r"/usr/share/(doc|man|info|locale|help|lintian|ghostscript|poppler|bug|perl|gtk-doc|gir-1.0|backgrounds)/"
    r"|/usr/lib/x86_64-linux-gnu/(dri/|libLLVM|libz3|libgs\.|perl/|gallium)|/usr/lib/(gcc|git-core|llvm)"
    r"|/usr/share/icons/.*/(256x256|512x512|96x96|64x64)/|/boot/|/lib/modules/"
)
_MADE_LATER = (
    "/etc/alternatives /etc/fonts /etc/ld.so.conf /etc/ld.so.conf.d /etc/nsswitch.conf /usr/share/mime /etc/X11 "
    "/usr/share/glib-2.0/schemas /usr/lib/x86_64-linux-gnu/gdk-pixbuf-2.0 /usr/lib/x86_64-linux-gnu/gtk-3.0 /etc/xdg"
)
_USERS = (
    "root:x:0:0:root:/root:/bin/bash\nmessagebus:x:100:100::/:/bin/false\nuser:x:1000:1000:User:/home/user:/bin/bash\n"
)
_GROUPS = "root:x:0:\ntty:x:5:\nmessagebus:x:100:\nuser:x:1000:\n"


_STALE_S = 86_400.0


class ImageProblem(Exception):
    """It cannot be made here."""


@dataclass(frozen=True)
class SmallImage:
    disk: Path
    kernel: Path
    initrd: Path


def small_image() -> SmallImage:
    """The image, from the cache or made now (some 20 s of one core)."""
    kernel_package, kernel = _kernel()
    content = hashlib.sha256()
    for source, place, _ in guest_files():
        content.update(f"{place}\0".encode() + source.read_bytes())
    content.update(Path(__file__).read_bytes() + kernel_package.encode())
    folder = CACHE / f"vm-{content.hexdigest()[:16]}"
    image = SmallImage(folder / "disk.raw", kernel / "vmlinuz", folder / "initrd")
    if not folder.exists():
        for stale in CACHE.glob("vm-*"):
            if time.time() - stale.stat().st_mtime > _STALE_S:  # other versions may be at work beside this one
                shutil.rmtree(stale, ignore_errors=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            beside = Path(work) / "image"
            beside.mkdir()
            shell = Path("/bin/busybox").read_bytes()
            (beside / "initrd").write_bytes(first_root(kernel / "modules", shell, FIRST_PROCESS.read_bytes()))
            _make_disk(Path(work) / "root", beside / "disk.raw")
            beside.rename(folder)
    return image


def _run(*command: str, **options: object) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode != 0:
        raise ImageProblem(f"{command[0]}: {done.stderr.strip()[-300:]}")
    return str(done.stdout)


def _kernel() -> tuple[str, Path]:
    """Debian's kernel: its package's name, and a folder with `vmlinuz` and `modules`."""
    if shutil.which("apt-get") is None:
        raise ImageProblem("this is no Debian")
    found = re.search(r"Depends: (linux-image-\S+)", _run("apt-cache", "depends", "linux-image-amd64"))
    if found is None:
        raise ImageProblem("apt knows no linux-image-amd64: run apt-get update")
    folder = CACHE / found[1]
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=CACHE) as work:
            _run("apt-get", "-qq", "download", found[1], cwd=work)
            package = next(Path(work).glob("*.deb"))
            unpack = f"dpkg-deb --fsys-tarfile {package} | tar -x --wildcards './boot/vmlinuz*' './lib/modules/*.ko'"
            _run("sh", "-c", unpack, cwd=work)
            kept = Path(work) / "kept"
            kept.mkdir()
            next((Path(work) / "boot").glob("vmlinuz*")).rename(kept / "vmlinuz")
            (Path(work) / "lib" / "modules").rename(kept / "modules")
            kept.rename(folder)
    return found[1], folder


def _installed() -> dict[str, list[list[str]]]:
    """What each installed package needs: groups of names of which one is enough; names that others provide too."""
    told = _run(
        "dpkg-query", "-W", "-f", "${db:Status-Abbrev}\\t${Package}\\t${Pre-Depends}, ${Depends}\\t${Provides}\\n"
    )
    needs: dict[str, list[list[str]]] = {}
    provided: dict[str, str] = {}
    for line in told.splitlines():
        status, name, depends, provides = line.split("\t")
        if not status.startswith("ii"):
            continue
        groups = [re.findall(r"(?:^|\|)\s*([a-z0-9][a-z0-9+.-]*)", group) for group in depends.split(",")]
        needs[name] = [group for group in groups if group]
        provided |= dict.fromkeys(re.findall(r"([a-z0-9][a-z0-9+.-]*)(?: \([^)]*\))?", provides), name)
    return needs | {virtual: [[real]] for virtual, real in provided.items() if virtual not in needs}


def _closure(roots: Iterable[str]) -> set[str]:
    needs, found, queue = _installed(), set[str](), list(roots)
    if missing := [name for name in queue if name not in needs]:
        raise ImageProblem(f"not installed here: {', '.join(missing)}")
    while queue:
        name = queue.pop()
        if name not in found:
            found.add(name)
            queue += [next((one for one in group if one in needs), name) for group in needs[name]]
    return found


def _stdlib(root: Path) -> list[str]:
    """Python's own modules, without those that nothing here needs."""
    found = [path for path in (root / "usr/lib").glob("python3.*") if path.is_dir()]
    for path in found:
        for unused in ("lib2to3", "idlelib", "tkinter", "test", "ensurepip", "pydoc_data"):
            shutil.rmtree(path / unused, ignore_errors=True)
    return [f"usr/lib/{path.name}" for path in found]


def _make_disk(root: Path, disk: Path) -> None:
    for name in ("proc", "sys", "dev", "run", "tmp", "root", "home/user", "etc", "var/lib/dbus", "usr"):
        (root / name).mkdir(parents=True)
    for name in ("bin", "sbin", "lib", "lib64"):
        (root / name).symlink_to(f"usr/{name}")
    real = {name for name in _closure(_ROOTS.split()) if Path(f"/var/lib/dpkg/info/{name}.list").exists()
            or list(Path("/var/lib/dpkg/info").glob(f"{name}:*.list"))}  # fmt: skip
    files = set(_run("dpkg", "-L", *sorted(real)).splitlines())
    files |= {str(path) for place in _MADE_LATER.split() for path in [Path(place), *Path(place).rglob("*")]}
    wanted = set()
    for name in files:
        path = Path(name)
        if not name.startswith("/") or _LEFT_OUT.search(name) or name in {"/bin", "/sbin", "/lib", "/lib64"}:
            continue
        # Many packages say /bin/x for what is in /usr/bin.
        at_usr = f"/usr{name}" if name.split("/")[1] in {"bin", "sbin", "lib", "lib64"} else name
        if path.is_symlink() or path.is_file():
            wanted.add(at_usr)
    listing = "\n".join(sorted(name.lstrip("/") for name in wanted if os.path.lexists(name)))
    copy = f"tar -C / --no-recursion --files-from=- -cf - | tar -C {root} -xf -"
    _run("sh", "-c", copy, input=listing)
    for place, text in (("etc/passwd", _USERS), ("etc/group", _GROUPS), ("etc/hostname", "ghost\n")):
        (root / place).write_text(text)
    for source, place, mode in guest_files():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, root / place)
        (root / place).chmod(mode)
    os.chown(root / "home" / "user", 1000, 1000)
    _run("/usr/sbin/ldconfig", "-r", str(root))
    # Compiled ahead: under emulation that saves seconds at each start.
    places = [f"{root}/{place}" for place in ("opt/ghostdesk", "usr/lib/python3/dist-packages", *_stdlib(root))]
    _run("/usr/bin/python3", "-m", "compileall", "-q", "-s", str(root), "-p", "/", *places)
    _run("fc-cache", "-y", str(root))
    with disk.open("wb") as stream:
        stream.truncate(2 << 30)
    _run("/usr/sbin/mkfs.ext4", "-q", "-F", "-m", "0", "-O", "^has_journal", "-d", str(root), str(disk))
