"""Every page and action of the console. The router is built from this table, and the tests walk it."""

from ingress.console.pages import deliveries, keys, login, now, replays, subscription_actions, subscriptions
from ingress.console.route import Route

ROUTES: tuple[Route, ...] = (
    *login.ROUTES,
    *now.ROUTES,
    *deliveries.ROUTES,
    *subscriptions.ROUTES,
    *subscription_actions.ROUTES,
    *replays.ROUTES,
    *keys.ROUTES,
)
