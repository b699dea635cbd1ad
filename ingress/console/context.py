"""What every page works with: the configuration, the vault, the sessions and the broker."""

from ingress.console.overview import OverviewCache
from ingress.console.session import Sessions
from ingress.logins import LoginLimiter
from schemas.config import Config
from storage.vault import Vault


class Context:
    """What is the same for all requests."""

    def __init__(
        self,
        config: Config,
        vault: Vault,
        overview: OverviewCache,
        *,
        amqp_url: str | None = None,
        console_token: str | None = None,
    ) -> None:
        """`amqp_url`: None if there is no broker, and pages say so. `console_token`: as in `session.operators`."""
        self.config = config
        self.vault = vault
        self.overview = overview
        self.amqp_url = amqp_url
        self.sessions = Sessions(config, vault, console_token)
        self.limiter = LoginLimiter()

    def reload(self, config: Config) -> None:
        """Use this configuration from the next request on."""
        self.config = config
        self.sessions.reload(config)
