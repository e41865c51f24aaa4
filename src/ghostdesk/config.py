"""Settings: one frozen dataclass a part, read from TOML, with units in the names and defaults that are safe."""

from __future__ import annotations

import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as checked

from ghostdesk.allocator.bookings import BookingLead
from ghostdesk.allocator.capacity import CapacityRules
from ghostdesk.allocator.quotas import GhostQuota, Quota, Quotas
from ghostdesk.kernel.errors import ConfigError
from ghostdesk.kernel.ids import app_id, user_id
from ghostdesk.kernel.resources import Resources
from ghostdesk.telemetry.events import TelemetrySource

_STRICT = ConfigDict(extra="forbid")


def default_state_dir() -> Path:
    """`/var/lib/ghostdesk` for root, else under the user's own data folder."""
    if os.geteuid() == 0:
        return Path("/var/lib/ghostdesk")
    return Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local/share")) / "ghostdesk"


def default_run_dir() -> Path:
    """Where sockets live: short, since a unix socket's path has 107 bytes at most."""
    if os.geteuid() == 0:
        return Path("/run/ghostdesk")
    return Path(os.environ.get("XDG_RUNTIME_DIR", f"/tmp/ghostdesk-{os.geteuid()}")) / "ghostdesk"  # noqa: S108


@checked(frozen=True, config=_STRICT)
class ServerSettings:
    """Where the page is served. Anything but loopback needs a certificate."""

    host: str = "127.0.0.1"
    port: int = 8470
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    public_origins: tuple[str, ...] = ()
    """Addresses that browsers reach us by, such as "https://desks.example.org:8470"; all others are refused."""
    sign_in_link_life_s: float = 900.0
    web_session_life_s: float = 43_200.0
    ticket_life_s: float = 20.0


@checked(frozen=True, config=_STRICT)
class StateSettings:
    """Where things are kept. Other users must be able to pass (mode 0711), as desktops run under their own uids."""

    directory: Path = field(default_factory=default_state_dir)
    run_directory: Path = field(default_factory=default_run_dir)
    database: str = ""
    """"postgresql://USER@HOST/NAME" for more than one control plane; empty for a SQLite file in `directory`."""


@checked(frozen=True, config=_STRICT)
class KubernetesSettings:
    """The cluster that desktops run in, and what their pods are like."""

    kubeconfig: Path | None = None
    """None takes the pod's service account where ghostdesk runs in the cluster, else the usual kubeconfig."""
    context: str = ""
    namespace: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$")] = "ghostdesk"
    pool: Annotated[str, Field(pattern=r"^[a-z0-9]{1,12}$")] = "main"
    """Tells this ghostdesk's pods and homes from another's in the same namespace."""
    image: str = ""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    pull_secret: str = ""
    transport: Literal["port-forward", "pod-ip"] = "port-forward"
    """How desktops are reached: through the API server, or at their own addresses from within the cluster."""
    request_share: Annotated[float, Field(gt=0, lt=1, allow_inf_nan=False)] = 0.25
    """Share of its limits that a desktop is promised: the scheduler packs nodes by it."""
    storage_class: str = ""
    home_bytes: Annotated[float, Field(ge=1e6, le=1e15, allow_inf_nan=False)] = 10e9
    home_access: Literal["ReadWriteOnce", "ReadWriteOncePod", "ReadWriteMany"] = "ReadWriteOnce"
    node_selector: dict[str, str] = field(default_factory=dict)
    runtime_class: str = ""


@checked(frozen=True, config=_STRICT)
class EngineSettings:
    """Which engine makes the desktops, and what a generic one is."""

    name: str = "local"
    width_px: int = 1280
    height_px: int = 800
    apps: tuple[str, ...] = ()
    network: str = "outbound"
    build_timeout_s: float = 20.0
    address: str = ""
    """Where the server of Incus or LXD is: its unix socket, or an https:// address."""
    certificate: Path | None = None
    key: Path | None = None
    server_certificate: Path | None = None
    project: str = "default"
    storage_pool: str = "default"
    network_name: str = ""
    cluster_group: str = ""
    image: str = ""
    """Alias or fingerprint on a server of Incus or LXD (empty: a small one that sees its /usr); libvirt: a volume."""
    reach: Literal["folder", "api"] = "folder"
    """How desktops on a server are reached: "folder", where it sees `state.run_directory` too, or through its API."""
    image_architecture: str = "x86_64"
    image_kernel: Path | None = None
    image_initrd: Path | None = None
    virtualisation: Literal["auto", "kvm", "qemu"] = "auto"
    """For machines of libvirt; "qemu" is emulation by software."""
    machine_memory_bytes: Annotated[float, Field(ge=5e8, allow_inf_nan=False)] = 4e9
    machine_cpu_cores: Annotated[int, Field(ge=1, le=256)] = 2
    """The most that a machine can have; what it gets is a matter of limits."""
    boot_timeout_s: float = 300.0
    cgroup_mode: str = "auto"
    """"auto", "v2", "hybrid", "v1" or "none"."""
    gpu_sharing: str = "auto"
    """"auto", "whole" (whole devices and MIG slices alone) or "off"."""
    pin_cores: bool = False
    """Pin desktops that may use a whole number of cores to some; a desktop then waits while other cores are idle."""
    kubernetes: KubernetesSettings = field(default_factory=KubernetesSettings)
    ghosts_yield: bool = True
    """Ghosts run only where nobody else wants the CPU or the disk; false on hosts that other work keeps busy always."""
    clones: Literal["off", "auto", "build", "park"] = "off"
    """"build" restores generic desktops from an image of a running one, "park" also parks them as such, "auto" does so
    where there is no swap."""
    criu: Path | None = None
    """The CRIU to make and restore images with, where it is not the system's."""
    clone_apps: tuple[str, ...] = ()
    """Applications, by desktop-file id, that are launched in the image and so are there in every clone."""

    def __post_init__(self) -> None:
        try:
            for app in self.clone_apps:
                app_id(app)
        except ValueError as error:
            raise ValueError(f"clone_apps: {error}") from None


@checked(frozen=True, config=_STRICT)
class PoolSettings:
    """How many generic ghosts to hold, and what a ghost may use."""

    floor: int = 2
    ceiling: int = 8
    target_hit_rate: float = 0.99
    policy: str = ""
    """Which policy says how many ghosts to hold, as `ghostdesk replay` writes it; empty goes by the forecast."""
    ghost_cpu_cores: float = 0.5
    ghost_memory_bytes: float = 1.5e9
    ghost_network_bytes_per_s: float = 12.5e6
    ghost_storage_bytes_per_s: float = 200e6
    active_cpu_cores: float = 0.0
    active_memory_bytes: float = 6e9
    active_network_bytes_per_s: float = 0.0
    active_storage_bytes_per_s: float = 0.0
    """What a desktop may use while it waits, and while somebody works in it; 0 is no limit but the machine's."""
    prewarm_in_steps: bool = True
    """Whether people who are less likely than `warm_threshold` get something less than a warm desktop."""
    gpu_share: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] = 0.0
    """Share of one GPU that each desktop gets when it is built, as long as there is room; 0 for none."""
    warm_apps: int = 2
    active_app_threshold: float = 0.5
    """Probability from which the next application is launched, hidden, in a desktop in use; above 1 switches it off."""
    warm_threshold: float = 0.3
    """Probability of a sign-in within the warm lead from which a personal ghost is warmed."""
    warm_lead_s: float = 1800.0
    park_after_s: float = 900.0
    memory_share: float = 0.7
    """Share of the host's memory that ghosts and desktops may hold together."""


@checked(frozen=True, config=_STRICT)
class ParkingSettings:
    """Where the memory of parked ghosts goes. All off by default: swap is the whole host's, not the ghosts' alone."""

    zram_bytes: float = 0.0
    """Compressed swap in RAM that ghostdesk sets up and takes down again, before compression; 0 sets none up."""
    zram_algorithm: str = "auto"
    """The best that the kernel offers, or one by name."""
    zram_priority: int = 100
    swap_file_bytes: float = 0.0
    """A swap file in the state folder, filled when the compressed swap is full; 0 makes none. Not encrypted."""
    same_page_merging: bool = False
    """Merge like pages (KSM) of ghosts that are nobody's yet, while none that was merged has an owner."""

    def __post_init__(self) -> None:
        for name, value in (("zram_bytes", self.zram_bytes), ("swap_file_bytes", self.swap_file_bytes)):
            if not 0 <= value < float("inf"):
                raise ValueError(f"{name} must be 0 or more, and finite")
        if not 0 <= self.zram_priority <= 32767:
            raise ValueError("zram_priority must be between 0 and 32767")


@checked(frozen=True, config=_STRICT)
class ForecastSettings:
    """How the future is guessed."""

    timezone: str = "UTC"
    forecast_only: bool = False
    """Predict and show plans, but warm nothing beyond the floor."""
    horizon_s: float = 7200.0
    slot_s: float = 300.0
    tick_s: float = 5.0


@checked(frozen=True, config=_STRICT)
class TelemetrySettings:
    """What agents report. An empty list records nothing."""

    sources: tuple[TelemetrySource, ...] = tuple(TelemetrySource)
    sample_every_s: float = 30.0
    retention_days: float = 730.0
    """Events and launches that are older are deleted; 0 keeps everything."""


@checked(frozen=True, config=_STRICT)
class CalendarSettings:
    """How calendars are read."""

    allowed_hosts: tuple[str, ...] = ()
    """Hosts inside the operator's network, or that a server sends on to, that may be reached."""
    ca_file: Path | None = None
    sync_every_s: float = 900.0


@checked(frozen=True, config=_STRICT)
class HomeSettings:
    """Where users' homes are; without `remote` on this host, under the state directory."""

    remote: str = ""
    """A server: "sshfs:{user}@files.example.org:/home/{user}", or "rclone:REMOTE:folder/{user}"."""
    options: tuple[str, ...] = ()
    """More options of sshfs (what follows -o) or rclone."""
    cache_bytes: float = 2.0 * 1024**3
    """Most bytes of a person's files that rclone keeps on this host."""


@checked(frozen=True, config=_STRICT)
class PrefetchSettings:
    """What is loaded before it is asked for."""

    files: bool = True
    """Learn which files people open (under their consent for files) and read the likely ones ahead."""
    file_budget_bytes: float = 64.0 * 1024 * 1024
    """Of one person's files, for each of their desktops."""
    largest_file_bytes: float = 32.0 * 1024 * 1024
    least_file_probability: float = 0.05
    file_memory_share: float = 0.05
    """Share of the memory that is free to be used, which files of one person may take at most."""
    applications: bool = True
    """Load what launches of likely applications touch into the page cache, and record what that is."""
    budget_bytes: float = 1024.0 * 1024 * 1024
    """Most that is loaded for applications at a time."""
    bytes_per_s: float = 0.0
    """Most that is read in a second for applications; 0 as fast as the disk gives it to the lowest priority."""
    reserve_bytes: float = 0.0
    """Memory to be left free of it; at least 5 % of all and 256 MB in any case."""


Levels = tuple[float, float, float]


@checked(frozen=True, config=_STRICT)
class ContextSettings:
    """When the host's condition holds back what is done ahead of time. Three levels each: below the first warming is as
    usual, from the second it is slow, from the third it pauses; above 1 a step is never taken."""

    warming_gate: bool = True
    cpu_pressure: Levels = (0.4, 0.6, 0.9)
    memory_pressure: Levels = (0.05, 0.1, 0.2)
    io_pressure: Levels = (0.2, 0.4, 0.7)
    memory_in_use: Levels = (0.85, 0.9, 0.95)
    swap_in_use: Levels = (0.75, 0.85, 0.95)
    disk_in_use: Levels = (0.9, 0.93, 0.97)
    dwell_s: float = 30.0
    """How long all must be well before warming gets one step nearer to usual."""
    fault_hold_s: float = 60.0
    preconnect_picture_bytes: float = 200e3
    preconnect_budget_s: float = 2.0
    """Browsers whose line needs longer than this for a picture are not connected ahead of time."""


@checked(frozen=True, config=_STRICT)
class PowerSettings:
    """What the host draws, where it is not measured, and sensors that have to be named. 0 watts are assumed ones."""

    idle_w: float = 0.0
    busy_w: float = 0.0
    most_w: float = 0.0
    """Readings above it are not believed."""
    ipmi: bool = True
    redfish_url: str = ""
    redfish_user: str = ""
    redfish_password_file: Path | None = None
    redfish_ca_file: Path | None = None
    redfish_chassis: str = ""


_Factor = Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)]
_Amount = Annotated[float, Field(ge=0, le=1e15, allow_inf_nan=False)]
_Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
_Count = Annotated[int, Field(ge=0, le=1_000_000)]
_Seconds = Annotated[float, Field(ge=0, le=7 * 86_400, allow_inf_nan=False)]


@checked(frozen=True, config=_STRICT)
class CapacitySettings:
    """How often each resource may be promised, and what a desktop in use is counted with."""

    cpu_factor: _Factor = 4.0
    memory_factor: _Factor = 1.0
    gpu_factor: _Factor = 1.0
    network_factor: _Factor = 8.0
    storage_factor: _Factor = 4.0
    desktop_cpu_cores: _Amount = 1.0
    desktop_memory_bytes: _Amount = 500e6
    desktop_gpu_share: _Amount = 0.0
    desktop_network_bytes_per_s: _Amount = 1e6
    desktop_storage_bytes_per_s: _Amount = 5e6


@checked(frozen=True, config=_STRICT)
class QuotaSettings:
    """The most that one person, or one department, may have; 0 of a resource is no quota."""

    desktops: _Count | None = None
    cpu_cores: _Amount = 0.0
    memory_bytes: _Amount = 0.0
    gpu_share: _Amount = 0.0
    network_bytes_per_s: _Amount = 0.0
    storage_bytes_per_s: _Amount = 0.0

    def quota(self) -> Quota:
        """The same as the allocator takes it."""
        amounts = self.cpu_cores, self.memory_bytes, self.gpu_share, self.network_bytes_per_s, self.storage_bytes_per_s
        return Quota(self.desktops, Resources(*amounts))


@checked(frozen=True, config=_STRICT)
class GhostQuotaSettings(QuotaSettings):
    """The most that all ghosts together may hold, as amounts or as shares of what the host has."""

    cpu_share: _Share = 0.0
    memory_share: _Share = 0.0


@checked(frozen=True, config=_STRICT)
class QuotasSettings:
    """Quotas: of every person, of single ones, of departments, and of ghosts."""

    person: QuotaSettings = field(default_factory=QuotaSettings)
    people: dict[str, QuotaSettings] = field(default_factory=dict)
    departments: dict[str, QuotaSettings] = field(default_factory=dict)
    ghosts: GhostQuotaSettings = field(default_factory=GhostQuotaSettings)

    def quotas(self) -> Quotas:
        """The same as the allocator takes it; raises `ConfigError` for a user id that is none."""
        try:
            people = {user_id(name): quota.quota() for name, quota in self.people.items()}
        except ValueError as error:
            raise ConfigError(f"quotas.people: {error}.", "For example: [quotas.people.alice].") from None
        departments = {name: quota.quota() for name, quota in self.departments.items()}
        shares = Resources(cpu_cores=self.ghosts.cpu_share, memory_bytes=self.ghosts.memory_share)
        ghosts = self.ghosts.quota()
        return Quotas(self.person.quota(), people, departments, GhostQuota(ghosts.desktops, ghosts.most, shares))


@checked(frozen=True, config=_STRICT)
class BookingSettings:
    """How early desktops of booked classes are made ready, and how long they are kept from others."""

    lead_s: _Seconds = 300.0
    hold_s: _Seconds = 1800.0


@checked(frozen=True, config=_STRICT)
class EnergySettings:
    """What hosts draw asleep, beside `PowerSettings`, and what energy is worth. Watts and times of 0 are assumed."""

    host_type: str = "server"
    """"server" or "desktop PC": whose figures are assumed for what is not given."""
    suspended_w: float = 0.0
    wake_time_s: float = 0.0
    signal: str = ""
    """File or HTTPS address of a carbon intensity or price: CSV or JSON of times and values."""
    signal_every_s: float = 900.0
    signal_allowed_hosts: tuple[str, ...] = ()
    signal_ca_file: Path | None = None
    suspend_this_host: bool = False
    """Whether `ghostdesk energy suspend` may suspend the machine that ghostdesk runs on."""


@dataclass(frozen=True)
class Settings:
    """Everything that can be set."""

    server: ServerSettings = field(default_factory=ServerSettings)
    state: StateSettings = field(default_factory=StateSettings)
    engine: EngineSettings = field(default_factory=EngineSettings)
    pool: PoolSettings = field(default_factory=PoolSettings)
    parking: ParkingSettings = field(default_factory=ParkingSettings)
    forecast: ForecastSettings = field(default_factory=ForecastSettings)
    telemetry: TelemetrySettings = field(default_factory=TelemetrySettings)
    calendars: CalendarSettings = field(default_factory=CalendarSettings)
    homes: HomeSettings = field(default_factory=HomeSettings)
    prefetch: PrefetchSettings = field(default_factory=PrefetchSettings)
    context: ContextSettings = field(default_factory=ContextSettings)
    power: PowerSettings = field(default_factory=PowerSettings)
    capacity: CapacitySettings = field(default_factory=CapacitySettings)
    quotas: QuotasSettings = field(default_factory=QuotasSettings)
    bookings: BookingSettings = field(default_factory=BookingSettings)
    energy: EnergySettings = field(default_factory=EnergySettings)


def capacity_rules(settings: Settings) -> CapacityRules:
    """What may be promised, and to whom, as the settings say."""
    capacity, bookings = settings.capacity, settings.bookings
    return CapacityRules(
        factors=Resources(
            capacity.cpu_factor,
            capacity.memory_factor,
            capacity.gpu_factor,
            capacity.network_factor,
            capacity.storage_factor,
        ),
        desktop=Resources(
            capacity.desktop_cpu_cores,
            capacity.desktop_memory_bytes,
            capacity.desktop_gpu_share,
            capacity.desktop_network_bytes_per_s,
            capacity.desktop_storage_bytes_per_s,
        ),
        quotas=settings.quotas.quotas(),
        lead=BookingLead(bookings.lead_s, hold_s=bookings.hold_s),
    )


def load_settings(path: Path | None) -> Settings:
    """Read settings from a TOML file, or give the defaults; raises `ConfigError` naming the setting that is wrong."""
    if path is None:
        return Settings()
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}.", "Give another file with --config.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is not TOML: {error}.", "Mend the line it names.") from None
    known = {f.name for f in fields(Settings)}
    if unknown := sorted(set(table) - known):
        raise ConfigError(f"{path} has an unknown part [{unknown[0]}].", f"Known parts: {', '.join(sorted(known))}.")
    try:
        return TypeAdapter(Settings).validate_python(table)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ConfigError(
            f"{path}: {where}: {first['msg']}.", "docs/reference/settings.md lists every setting."
        ) from None
