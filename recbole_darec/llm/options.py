"""Which server is asked, how patiently and how fast."""

from __future__ import annotations

from urllib.parse import urlsplit

from recbole_darec.errors import OptionError
from recbole_darec.settings.options import CommandOptions, option

__all__ = ["KEY_VARIABLE", "RateOptions", "Server", "check_url"]

KEY_VARIABLE = "OPENAI_API_KEY"


class RateOptions(CommandOptions):
    """How fast a server is asked."""

    requests_per_minute: float | None = option(None, "Requests per minute at most.", above=0.0)
    tokens_per_minute: float | None = option(None, "Tokens per minute at most.", above=0.0)


class Server(CommandOptions):
    """Which server is asked, and how patiently.

    Attributes:
        key_variable: the environment variable with the key; no option, for a key is no argument.
    """

    base_url: str | None = option(
        None,
        "Any server that speaks the OpenAI protocol, ending in /v1 as a rule (default: "
        "OPENAI_BASE_URL, or OpenAI's own).",
        metavar="URL",
    )
    concurrency: int = option(16, "Requests at once.", low=1)
    retries: int = option(
        6,
        "Repeats of a request after 408, 409, 429, 5xx or a lost connection, each after the pause "
        "that the server asks for or a growing one.",
        low=0,
    )
    timeout: float = option(120.0, "Seconds that one request may take.", above=0.0, metavar="S")
    key_variable: str = KEY_VARIABLE

    def check_together(self) -> None:
        """Refuse what is no address."""
        if self.base_url is not None:
            check_url("--base-url", self.base_url)


def check_url(name: str, url: str) -> None:
    """Refuse an address that no server can have.

    Args:
        name: what the user calls it.
        url: the address.

    Raises:
        OptionError: it is none, or holds a password.
    """
    if "@" in url:  # not shown: what stands before it is a secret
        raise OptionError(f"{name} must not hold a password: the key goes into {KEY_VARIABLE}")
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound or url != "".join(url.split()):
        raise OptionError(f"{name} must be as in http://localhost:8000/v1, not '{url}'")
