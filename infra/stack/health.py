"""Asking a server how it is."""

import urllib.error
import urllib.request

_SECONDS = 5


def answers(url: str) -> bool:
    """Whether a server answers there, and not with a fault of its own; being refused is an answer."""
    try:
        urllib.request.urlopen(url, timeout=_SECONDS).close()  # noqa: S310 - http, our own
    except urllib.error.HTTPError as error:
        return error.code < 500
    except OSError:
        return False
    return True
