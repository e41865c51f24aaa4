"""Names, labels and quantities, as Kubernetes wants them: pure.

Source: Kubernetes' concepts/overview/working-with-objects (names; labels and selectors) and
reference/kubernetes-api/common-definitions/quantity.
"""

from __future__ import annotations

import hashlib
import re
from decimal import Decimal, InvalidOperation

from ghostdesk.kernel.ids import GhostId, UserId

POOL, GHOST, OWNER = "ghostdesk/pool", "ghostdesk/ghost", "ghostdesk/owner"
STATE, GENERATION, NETWORK = "ghostdesk/state", "ghostdesk/generation", "ghostdesk/network"
TEMPLATE = "ghostdesk/template"
"""Labels of a pod. What a label cannot hold letter by letter is in the annotation of the same name."""
MANAGED_BY = {"app.kubernetes.io/managed-by": "ghostdesk", "app.kubernetes.io/component": "desktop"}
FROZEN, AWAKE = "frozen", "awake"
_LABEL = re.compile(r"([A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?)?")
_POOL = re.compile(r"[a-z0-9]{1,12}")
_UNITS = {
    "m": Decimal("0.001"), "": Decimal(1), "k": Decimal(10**3), "M": Decimal(10**6), "G": Decimal(10**9),
    "T": Decimal(10**12), "P": Decimal(10**15), "E": Decimal(10**18), "Ki": Decimal(2**10), "Mi": Decimal(2**20),
    "Gi": Decimal(2**30), "Ti": Decimal(2**40), "Pi": Decimal(2**50), "Ei": Decimal(2**60), "u": Decimal("1e-6"),
    "n": Decimal("1e-9"),
}  # fmt: skip
_QUANTITY = re.compile(r"([+-]?[0-9.]+(?:[eE][+-]?[0-9]+)?)([a-zA-Z]*)")


def pool_name(text: str) -> str:
    """Check and return a pool's name: 1-12 lower-case letters and digits; raises `ValueError`."""
    if not _POOL.fullmatch(text):
        raise ValueError(f"{text!r} is no name of a pool: use 1-12 lower-case letters and digits")
    return text


def pod_name(pool: str, ghost: GhostId, generation: int) -> str:
    """The name of a ghost's pod: each generation has its own, so that the next can start beside the last."""
    return f"gd-{pool}-{ghost}-{generation}"


def claim_name(pool: str, user: UserId) -> str:
    """The name of the claim that holds a person's home; different for different people."""
    readable = re.sub(r"[^a-z0-9]+", "-", user).strip("-")[:24].rstrip("-")
    return f"gd-{pool}-home-{readable or 'user'}-{_digest(user)}"


def label_value(text: str) -> str:
    """`text` where a label may hold it, else its letters that a label may hold, with a digest of the whole."""
    if _LABEL.fullmatch(text):
        return text
    return f"{re.sub(r'[^A-Za-z0-9]+', '-', text).strip('-')[:40].strip('-') or 'x'}-{_digest(text)}"


def selector(**labels: str) -> str:
    """A label selector of `pool` and, where given, `ghost`."""
    known = {"pool": POOL, "ghost": GHOST}
    return ",".join(f"{known[name]}={value}" for name, value in labels.items())


def cpu_quantity(cores: float) -> str:
    """CPU cores as a quantity, in thousandths, at least one."""
    return f"{max(1, round(cores * 1000))}m"


def byte_quantity(count: float) -> str:
    """Bytes as a quantity."""
    return str(max(1, round(count)))


def quantity(text: str | float | None) -> float:
    """The number that a quantity means; raises `ValueError` for one that is none."""
    if text is None:
        return 0.0
    match = _QUANTITY.fullmatch(str(text).strip())
    try:
        if match is None:
            raise InvalidOperation
        return float(Decimal(match[1]) * _UNITS[match[2]])
    except (InvalidOperation, KeyError):
        raise ValueError(f"{text!r} is no quantity") from None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:10]
