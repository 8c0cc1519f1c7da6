"""Short-lived credentials of TURN servers, as coturn's ``use-auth-secret`` checks them."""

from __future__ import annotations

import base64
import hmac
from typing import Any

from server.settings import Settings


def turn_credential(secret: str, username: str) -> str:
    """base64(HMAC-SHA1(secret, username)), of the TURN REST API draft."""
    digest = hmac.digest(secret.encode(), username.encode(), "sha1")
    return base64.b64encode(digest).decode()


def ice_servers_for(settings: Settings, session_id: str, now: float) -> list[dict[str, Any]]:
    """The STUN and TURN servers that one session's caller may use.

    Args:
        now: Unix time, seconds.
    """
    servers = settings.ice_servers_in_clear()
    if settings.turn_urls:
        username = f"{int(now) + settings.turn_ttl_s}:{session_id}"
        credential = turn_credential(settings.turn_secret.get_secret_value(), username)
        servers.append(
            {"urls": list(settings.turn_urls), "username": username, "credential": credential}
        )
    return servers
