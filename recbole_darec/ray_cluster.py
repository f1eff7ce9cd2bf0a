"""Joining a Ray cluster that is there; what the encoders and the studies share.

Of Ray, the core alone is used, so that the extra needs no more.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from recbole_darec.errors import MissingExtraError, OptionError, first_line

__all__ = ["connect", "import_ray", "require_ray", "shortened"]

_PATIENCE = 10.0  # seconds until an address counts as nobody's
_LONGEST = 300  # characters of an error
_SKIPPED = "RAY_DEDUP_LOGS_SKIP_REGEX"  # Ray's variable


def require_ray() -> None:
    """Raise :class:`MissingExtraError` unless Ray is installed."""
    if importlib.util.find_spec("ray") is None:
        raise MissingExtraError("ray", "ray")


def import_ray() -> Any:
    require_ray()
    try:
        with _told_by_us():
            import ray
            import ray.util
    except Exception as error:  # one that does not fit its NumPy or setuptools raises what it likes
        raise OptionError(
            f"ray is installed, but cannot be imported ({first_line(error)}): "
            "pip install --upgrade 'recbole-darec[ray]'"
        ) from None
    return ray


@contextmanager
def _told_by_us() -> Iterator[None]:
    """Keep newer Rays from printing that a worker died: we say it once, when it matters.

    They print it whatever ``log_to_driver`` is; which lines are left out, they read at import.
    """
    if _SKIPPED in os.environ:
        yield
        return
    os.environ[_SKIPPED] = "."
    try:
        yield
    finally:
        del os.environ[_SKIPPED]


def connect(ray: Any, address: str) -> bool:
    """Join the cluster unless this process has; return whether it was done here.

    Args:
        ray: the package.
        address: of the cluster: ``host:port``, ``ray://host:port``, ``auto`` or ``local``.

    Raises:
        OptionError: there is no such cluster, or it is of other versions.
    """
    if ray.is_initialized():
        return False
    answers = _knock(address)
    try:
        ray.init(address=address, logging_level="critical", log_to_driver=False)
    except (ConnectionError, ValueError, RuntimeError, OSError) as error:
        if answers:
            raise OptionError(
                f"Ray cannot join the cluster at '{address}' ({shortened(error)}): it must run "
                f"the same versions as this process (Ray {ray.__version__}, Python "
                f"{platform.python_version()}); if it asks for a token, set RAY_AUTH_MODE=token"
            ) from None
        raise _no_cluster(address, error) from None
    return True


def _knock(address: str) -> bool:
    """Try the address, where it is one: Ray itself would try for minutes.

    Returns:
        Whether somebody answers; False where ``address`` is a word such as ``auto``.
    """
    host, _, port = address.rpartition("//")[2].rpartition(":")
    if not host or not port.isdigit():
        return False
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from None
    return True


def _no_cluster(address: str, error: Exception) -> OptionError:
    return OptionError(
        f"no Ray cluster at '{address}' ({shortened(error)}): start one with 'ray start "
        "--head', or leave --ray-address out to work on this machine"
    )


def shortened(error: Exception) -> str:
    """Return Ray's words in one line: all of them, or of many the first and the last line."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    whole = " ".join(lines).rstrip(". ")
    if len(whole) > _LONGEST:
        whole = f"{lines[0]} … {lines[-1]}"
    return whole or type(error).__name__
