"""Every page and action of the console. The router is built from this table, and the tests walk it."""

from ingress.console.pages import (
    actions,
    deliveries,
    delivery_actions,
    document,
    events,
    find,
    keys,
    login,
    now,
    quarantine,
    quarantine_actions,
    replays,
    subscription_actions,
    subscriptions,
    transfers,
)
from ingress.console.route import Route

ROUTES: tuple[Route, ...] = (
    *login.ROUTES,
    *now.ROUTES,
    *transfers.ROUTES,
    *events.ROUTES,
    *deliveries.ROUTES,
    *subscriptions.ROUTES,
    *subscription_actions.ROUTES,
    *replays.ROUTES,
    *keys.ROUTES,
    *quarantine_actions.ROUTES,
    *quarantine.ROUTES,
    *delivery_actions.ROUTES,
    *actions.ROUTES,
    *find.ROUTES,
    *document.ROUTES,
)
