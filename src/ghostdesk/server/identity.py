"""Who is asking: what the routes depend on."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from ghostdesk.kernel.errors import NotAllowed
from ghostdesk.server.auth import Identity


def identity_of(request: Request) -> Identity:
    """Who is asking; the guard has checked it."""
    identity: Identity | None = request.state.identity
    if identity is None:
        raise NotAllowed("You are not signed in.")
    return identity


def operator_of(request: Request) -> Identity:
    """Who is asking, when they run the service; raises `NotAllowed` for everybody else."""
    identity = identity_of(request)
    if not identity.operator:
        raise NotAllowed("This is for operators.", "Ask an operator.")
    return identity


Who = Annotated[Identity, Depends(identity_of)]
