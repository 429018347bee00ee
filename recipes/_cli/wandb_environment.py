"""Corrections of the environment variables that W&B reads, made before anything else runs."""

import netrc
import os
import sys
from pathlib import Path
from urllib.parse import urlparse

_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")


def prepare_wandb() -> None:
    """Log offline if there is no account, and remove environment variables that would make W&B fail."""
    mode = os.environ.get("WANDB_MODE", "")
    if mode not in _MODES:
        if mode.strip():
            sys.stderr.write(f"expected WANDB_MODE as one of {', '.join(_MODES)}, got {mode!r}; it is ignored.\n")
        os.environ.pop("WANDB_MODE", None)
    if not os.environ.get("WANDB_API_KEY", "").strip():
        os.environ.pop("WANDB_API_KEY", None)
    if "WANDB_MODE" not in os.environ and not has_wandb_credentials():
        os.environ["WANDB_MODE"] = "offline"
        # wandb would print a dozen lines; finish_wandb prints the one that matters
        os.environ.setdefault("WANDB_SILENT", "true")


def has_wandb_credentials() -> bool:
    """Whether there is a W&B account in the environment or in a netrc file. An unreadable file counts as none."""
    if os.environ.get("WANDB_API_KEY", "").strip():
        return True
    host = urlparse(wandb_server()).hostname or ""
    for name in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            path = Path(name or "").expanduser()
            if path.is_file():
                account = netrc.netrc(path).authenticators(host)
                return account is not None and bool(account[2])
        except (OSError, ValueError, RuntimeError, netrc.NetrcParseError):  # no permission, no text, or no home
            continue
    return False


def wandb_server() -> str:
    """Address of the server that W&B talks to."""
    return os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
