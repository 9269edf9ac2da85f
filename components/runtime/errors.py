"""A mistake of the user's is one line and exit code 2; a fault of ours keeps its traceback."""

import errno
import os
import re
import sys
from collections.abc import Callable
from typing import NoReturn

EXIT_USER_ERROR = 2
EXIT_INCOMPLETE = 3
"""All that could be done is done, and something was left out as the user allowed."""
EXIT_INTERRUPTED = 130


_LOGIN = re.compile(r"(?<=://)[^\s/'\"]*@")


def without_logins(text: str) -> str:
    """The same text, its addresses without the user and password that they may hold: fit for a log."""
    return _LOGIN.sub("", text)


class UserError(Exception):
    """Something only the user can put right. Its line quotes other programs, which like to show whole addresses.

    Args:
        where: the params key, file or environment variable at fault, as the user wrote it.
        what: the rule and the value found.
        fix: what to do about it.
    """

    def __init__(self, where: str, what: str, fix: str) -> None:
        self.where, self.what, self.fix = map(without_logins, (where, what, fix))
        super().__init__(f"{self.where}: {self.what}; {self.fix}")

    def __reduce__(self) -> tuple[type["UserError"], tuple[str, str, str]]:
        # so that one process can raise what happened in another
        return UserError, (self.where, self.what, self.fix)


# faults of the machine that a user can mend; every other is ours and keeps its traceback
_ENVIRONMENT = {
    errno.ENOSPC: ("the disk is full", "free some space and run again, finished stages are kept"),
    errno.EDQUOT: ("the disk quota is used up", "free some space and run again, finished stages are kept"),
    errno.EIO: ("the disk fails", "see whether it is full or broken, then run again, finished stages are kept"),
    errno.EROFS: ("the file system is read-only", "run in a writable checkout"),
    errno.EACCES: ("permission denied", "make it readable (and the checkout writable) for this user"),
    errno.EPERM: ("operation not permitted", "make it readable (and the checkout writable) for this user"),
}


# what numpy, torch's archives, SQLite and safetensors make of a full disk
_FULL = re.compile(r"\d requested and \d+ written|unexpected pos \d+ vs \d|disk is full|No space left on device")


def as_user_error(error: BaseException) -> UserError | None:
    """The one-line form of a fault of the machine that the user can mend, or None."""
    number = error.errno if isinstance(error, OSError) else None
    if _FULL.search(str(error)):
        number = errno.ENOSPC
    elif "disk I/O error" in str(error):  # SQLite's, where it could not make room for its own bookkeeping
        number = errno.EIO
    if number not in _ENVIRONMENT:
        return None
    what, fix = _ENVIRONMENT[number]
    return UserError(str(getattr(error, "filename", None) or "disk"), what, fix)


def die(error: UserError) -> NoReturn:
    """Print the one line and leave with exit code 2."""
    line = " ".join(str(error).split())
    print(f"error: {line}", file=sys.stderr, flush=True)
    raise SystemExit(EXIT_USER_ERROR)


def run_main(main: Callable[[], object]) -> None:
    """Run a command line's main function with the project's promise about errors."""
    try:
        main()
        sys.stdout.flush()
    except UserError as error:
        die(error)
    except KeyboardInterrupt:
        raise SystemExit(EXIT_INTERRUPTED) from None
    except BrokenPipeError:
        # the reader of our output left (`| head`): nothing is wrong, and Python must not complain at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise SystemExit(0) from None
    except Exception as error:
        if mended := as_user_error(error):
            die(mended)
        raise
