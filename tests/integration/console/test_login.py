"""Who gets into the console, and as whom."""

from ingress.console.session import make_link
from tests.support.console import ACT, READ, TOKENS, console
from tests.support.receiver import VAULT


async def test_a_page_leads_to_the_form_and_the_form_back_to_the_page(database_url: str) -> None:
    async with console(database_url, who=None) as client:
        answer = await client.get("/console?a=7")
        assert (answer.status, answer.headers["Location"]) == (303, "/console/login?next=/console%3Fa%3D7")
        answer = await client.post("/console/login", {"token": TOKENS[READ], "next": "/console?a=7"})
        assert (answer.status, answer.headers["Location"]) == (303, "/console?a=7")
        assert f"{READ} (read)" in (await client.get("/console")).text


async def test_a_wrong_token_is_refused(database_url: str) -> None:
    async with console(database_url, who=None) as client:
        answer = await client.post("/console/login", {"token": "wrong"})
        assert answer.status == 403
        assert "No operator has this token" in answer.text
        assert (await client.get("/console")).status == 303


async def test_a_link_logs_in_once(database_url: str) -> None:
    link = f"/console/login?once={make_link(VAULT, ACT)}"
    async with console(database_url, who=None) as client:
        assert (await client.get(link)).headers["Location"] == "/console"
        assert (await client.get("/console")).status == 200
    async with console(database_url, who=None) as client:
        assert (await client.get(link)).status == 403
        assert (await client.get("/console")).status == 303


async def test_logging_out_ends_the_session(database_url: str) -> None:
    async with console(database_url) as client:
        assert (await client.post("/console/logout")).headers["Location"] == "/console/login"
        assert (await client.get("/console")).status == 303


async def test_a_page_that_does_not_exist_has_the_search_box_for_those_who_are_logged_in(database_url: str) -> None:
    async with console(database_url, who=READ) as client:
        for path in ("/console/nothing", "/console/documents/1"):
            answer = await client.get(path)
            assert answer.status == 404
            assert 'action="/console/find"' in answer.html
            assert 'aria-label="Sections"' in answer.html
            assert f"{READ} (read)" in answer.text
    async with console(database_url, who=None) as client:
        answer = await client.get("/console/nothing")
        assert (answer.status, 'action="/console/find"' in answer.html) == (404, False)
