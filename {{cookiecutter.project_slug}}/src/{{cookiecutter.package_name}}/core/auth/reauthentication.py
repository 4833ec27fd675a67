"""Reauthentication: sensitive operations need a user who has entered a credential recently."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any

from ...config import get_settings
from . import identity

View = Callable[..., Any]


def fresh_login_required(view: View) -> View:
    """Let users call a view only within REAUTHENTICATION_TIMEOUT after they entered a credential.

    Otherwise browsers that request a page are sent to enter it, and back; the response to other
    requests is 403. It goes below `@requires`.
    """

    @wraps(view)
    def wrapper(**arguments: Any) -> Any:
        if not is_fresh():
            identity.get_provider().reauthenticate()
        return view(**arguments)

    return wrapper


def is_fresh() -> bool:
    """Return whether the user of the request has entered a credential recently."""
    authenticated_at = identity.get_provider().get_authentication_time()
    if authenticated_at is None:
        return False
    return time.time() - authenticated_at <= get_settings().REAUTHENTICATION_TIMEOUT
