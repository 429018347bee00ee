"""The variables of the environment that W&B reads, put right before anything else runs."""

import netrc
import os
import sys
from pathlib import Path
from urllib.parse import urlparse

_MODES = ("online", "offline", "disabled", "shared", "dryrun", "run")


def prepare_wandb() -> None:
    """Log offline without an account, and take back variables of the environment that W&B would stumble over."""
    mode = os.environ.get("WANDB_MODE", "")
    if mode not in _MODES:
        if mode.strip():
            sys.stderr.write(f"WANDB_MODE is none of {', '.join(_MODES)}, but {mode!r}: it is not used.\n")
        os.environ.pop("WANDB_MODE", None)
    if not os.environ.get("WANDB_API_KEY", "").strip():
        os.environ.pop("WANDB_API_KEY", None)
    if "WANDB_MODE" not in os.environ and not has_wandb_credentials():
        os.environ["WANDB_MODE"] = "offline"
        # wandb would say a dozen lines; finish_wandb says the one that matters
        os.environ.setdefault("WANDB_SILENT", "true")


def has_wandb_credentials() -> bool:
    """Whether W&B knows an account here; a file that cannot be read has none."""
    if os.environ.get("WANDB_API_KEY", "").strip():
        return True
    host = urlparse(wandb_server()).hostname or ""
    for name in (os.environ.get("NETRC"), "~/.netrc", "~/_netrc"):
        try:
            path = Path(name or "").expanduser()
            if path.is_file():
                account = netrc.netrc(path).authenticators(host)
                return account is not None and bool(account[2])
        except (OSError, ValueError, RuntimeError, netrc.NetrcParseError):  # no rights, no text, no home folder
            continue
    return False


def wandb_server() -> str:
    """Address of the server that W&B talks to."""
    return os.environ.get("WANDB_BASE_URL") or "https://api.wandb.ai"
