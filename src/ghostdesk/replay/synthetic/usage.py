"""What a desktop uses: it follows the application in front, the hour, and itself an hour and a day ago. Pure."""

from __future__ import annotations

import numpy as np

from ghostdesk.replay.synthetic.draws import Draws, Floats, Ints
from ghostdesk.replay.synthetic.parameters import Parameters
from ghostdesk.replay.synthetic.people import GPU_APPS
from ghostdesk.telemetry.events import EventKind

RESOURCES = (EventKind.CPU, EventKind.MEMORY, EventKind.NETWORK, EventKind.STORAGE, EventKind.GPU)
_NAMES = ("cpu", "memory", "network", "storage", "gpu")
_MIDDLE = np.array([0.2, 1.4e9, 2e5, 1e5, 0.02])
"""Of an application in front, at the median: cores, bytes, bytes/s, bytes/s, share of a device. Assumed."""
_MOST = np.array([16.0, 64e9, 1.25e9, 2e9, 1.0])
_DIGITS = (3, 0, 0, 0, 3)
_GPU_MIDDLE = 0.35
_GPU_NUMBERS = np.array(sorted(GPU_APPS))
_SAMPLE_SPREAD = 0.1
_HOURS = 24


def levels(parameters: Parameters, seed: int, index: Ints, days: int) -> Floats:
    """How much each person uses of each resource in each hour, as a standard normal, shape (people, hours, resources).

    A part that is common to all resources and one of each: a pattern over the hours of the day, and an autoregression.
    """
    fitted, count = parameters.fitted, len(RESOURCES)
    daily = np.array([fitted["daily_common"], *(fitted[f"daily_{name}"] for name in _NAMES)])
    hold = np.array([fitted["hold_common"], *(fitted[f"hold_{name}"] for name in _NAMES)])
    draws, who = Draws(seed, "levels"), index[:, None, None]
    part = np.arange(count + 1)[None, None, :]
    noise = draws.normal(who, np.arange(days * _HOURS)[None, :, None], part, 0)
    pattern = draws.normal(who, np.arange(_HOURS)[None, :, None], part, 1)
    pattern = (np.roll(pattern, 1, axis=1) + pattern + np.roll(pattern, -1, axis=1)) / np.sqrt(3.0)
    fresh = np.sqrt(1.0 - hold**2)
    for hour in range(1, days * _HOURS):
        noise[:, hour] = hold * noise[:, hour - 1] + fresh * noise[:, hour]
    whole = np.sqrt(daily) * np.tile(pattern, (1, days, 1)) + np.sqrt(1.0 - daily) * noise
    load = np.array([fitted[f"common_{name}"] for name in _NAMES])
    return np.asarray(load * whole[:, :, :1] + np.sqrt(1.0 - load**2) * whole[:, :, 1:])


def amounts(
    parameters: Parameters, seed: int, who: Ints, app: Ints, level: Floats, resource: Ints, turn: Ints, sample: Ints
) -> Floats:
    """What samples say; all arrays of shape (samples,).

    Args:
        parameters: what to draw from.
        seed: of the history.
        who: number of the person.
        app: number of the application in front.
        level: of the resource in that hour, see `levels`.
        resource: position in `RESOURCES`.
        turn, sample: numbers of the person's turn, and of the sample in it.
    """
    fitted, draws = parameters.fitted, Draws(seed, "amounts")
    spread = np.array([fitted[f"spread_{name}"] for name in _NAMES])[resource]
    by_app = np.array([fitted[f"app_spread_{name}"] for name in _NAMES])[resource]
    heavy = (resource == _NAMES.index("gpu")) & np.isin(app, _GPU_NUMBERS)
    middle = np.where(heavy, _GPU_MIDDLE, _MIDDLE[resource])
    person = 0.5 * draws.normal(who, resource, 0)
    turned = by_app * draws.normal(who, app, resource, 1) + _SAMPLE_SPREAD * draws.normal(who, turn, sample, 2)
    found: Floats = np.minimum(middle * np.exp(person + turned + spread * level), _MOST[resource])
    for place, digits in enumerate(_DIGITS):
        chosen = resource == place
        found[chosen] = np.round(found[chosen], digits)
    return found
