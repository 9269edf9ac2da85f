"""Asking a server how it is: for the stack, and as the health check of containers.

python -m infra.health URL     exit code 0: it is well. 1: it is not.
"""

import sys
import urllib.error
import urllib.request

_SECONDS = 5


def answers(url: str) -> bool:
    """Whether a server answers there, and not with a fault of its own; being refused is an answer."""
    try:
        urllib.request.urlopen(url, timeout=_SECONDS).close()  # noqa: S310 - an address of the operator's
    except urllib.error.HTTPError as error:
        error.close()
        return error.code < 500
    except OSError:
        return False
    return True


if __name__ == "__main__":
    sys.exit(not answers(sys.argv[1]))
