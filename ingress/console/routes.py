"""Every page and action of the console. The router is built from this table, and the tests walk it."""

from ingress.console.pages import document, find, login, now
from ingress.console.route import Route

ROUTES: tuple[Route, ...] = (
    *login.ROUTES,
    *now.ROUTES,
    *find.ROUTES,
    *document.ROUTES,
)
