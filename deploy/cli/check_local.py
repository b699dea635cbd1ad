"""The checks of `crossdock check` that need no server: configuration, secrets, rules and this machine."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from deploy import state as states
from deploy.cli.check_limits import limit_problems
from deploy.cli.errors import explain

if TYPE_CHECKING:
    from schemas.config import Config

SPARE_FILES = 100
"""Files that a process opens besides its connections."""
SHORT_TOKEN = 16
"""Characters of an operator's token below which it is reported."""
LITTLE_DISK = 1024**3
"""Free bytes below which the disk is reported."""


class Finding(NamedTuple):
    """The result of one check. `problems` is empty when nothing is wrong."""

    what: str
    problems: list[str]
    note: str = ""


def check_configuration(path: Path | None, loaded: "Config", state: Path | None) -> list[Finding]:
    """Return the results of all checks that need no server."""
    from deploy import config as configuration

    findings = [_accounts(configuration.find(path), loaded), *_rules(loaded)]
    if problems := configuration.secret_problems(path) + shared_secrets(loaded):
        findings.append(Finding("secrets", problems))
    if problems := limit_problems(loaded):
        findings.append(Finding("limits", problems))
    if problems := login_problems(loaded) + subscriber_problems(loaded):
        findings.append(Finding("subscribers", problems))
    if loaded.operators or loaded.api.operator_token:
        findings.append(Finding("operators", operator_problems(loaded), operator_note(loaded)))
    return [*findings, Finding("this machine", machine_problems(loaded, _file_limit(), _free_bytes(state)))]


def configured_accounts(loaded: "Config") -> list[str]:
    """Return every configured account as `platform/account`."""
    return [f"{platform}/{name}" for platform, accounts in loaded.accounts.items() for name in accounts]


def unmatched(patterns: Iterable[str], accounts: list[str]) -> list[str]:
    """Return the patterns that match none of the accounts."""
    from schemas.patterns import fits

    return [pattern for pattern in patterns if not any(fits(account, [pattern]) for account in accounts)]


def _accounts(file: Path | None, loaded: "Config") -> Finding:
    counts = {name: len(accounts) for name, accounts in loaded.accounts.items() if accounts}
    if not counts:
        problem = "no account is configured, so every webhook gets 404: add one, as in [accounts.channelape.rothys]"
        return Finding("configuration", [problem])
    accounts = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return Finding("configuration", [], f"{file or 'no file, so the defaults and demo accounts'}; accounts: {accounts}")


def shared_secrets(loaded: "Config") -> list[str]:
    """Return one line per account that has the same secret as another account of its platform."""
    from schemas import registry

    problems, owners = [], dict[tuple[str, str], str]()
    for platform in registry.platforms().values():
        for name, settings in loaded.accounts.get(platform.name, {}).items():
            account = f"accounts.{platform.name}.{name}"
            for secret in platform.secrets(settings):
                other = owners.setdefault((platform.name, secret.strip()), account)
                if other != account:
                    problems.append(f"{account} and {other} have the same secret: give each account its own")
    return problems


def login_problems(loaded: "Config") -> list[str]:
    """Return one line per subscriber whose user name or password can't let it in, without showing the password."""
    from schemas.lenient import composed

    problems, owners = [], dict[tuple[str, str], str]()
    for name, subscriber in loaded.subscribers.items():
        key = f"subscribers.{name}"
        if ":" in subscriber.username:
            problems.append(
                f"{key}.username: HTTP Basic can't carry a colon in a name, so only the headers Username and Password "
                "work: choose a name without a colon"
            )
        credentials = composed(subscriber.username), composed(subscriber.password)
        other = owners.setdefault(credentials, key)
        if other != key:
            problems.append(
                f"{other} and {key} have the same user name and password, and only {key} can log in with them: give "
                "each its own"
            )
    return problems


def operator_problems(loaded: "Config") -> list[str]:
    """Return one line per operator who cannot log in to the console, or whose token can be guessed."""
    from schemas.lenient import composed

    problems, owners = [], dict[str, str]()
    shared = loaded.api.operator_token
    if shared and "operator" in loaded.operators:
        problems.append(
            "operators.operator and [api] operator_token are the same operator, and in the console only the former "
            "counts: choose another name for it"
        )
    tokens = {f"operators.{name}": operator.token for name, operator in loaded.operators.items()}
    for key, token in (tokens | ({"api.operator_token": shared} if shared else {})).items():
        if token is None:
            if loaded.console.user_header is None:
                problems.append(f"{key} has no token, and no proxy logs in: add a token, or [console] user_header")
            continue
        if key in tokens and len(token) < SHORT_TOKEN:
            problems.append(
                f"{key}.token has fewer than {SHORT_TOKEN} characters and can be guessed: use the output of "
                "`openssl rand -base64 24`"
            )
        other = owners.setdefault(composed(token), key)
        if other != key:
            problems.append(f"{other} and {key} have the same token, and only {key} can log in: give each its own")
    return problems


def operator_note(loaded: "Config") -> str:
    """Return how many operators may do what."""
    roles = [operator.role for operator in loaded.operators.values()]
    roles += ["act"] if loaded.api.operator_token and "operator" not in loaded.operators else []
    return f"{roles.count('act')} may act, {roles.count('read')} may only look"


def subscriber_problems(loaded: "Config") -> list[str]:
    """Return one line per account pattern of a subscriber that matches no configured account."""
    accounts = configured_accounts(loaded)
    return [
        f"subscribers.{name}: {pattern!r} matches no configured account ({', '.join(accounts) or 'there are none'}): "
        "correct the pattern, or add the account"
        for name, subscriber in loaded.subscribers.items()
        for pattern in unmatched(subscriber.accounts, accounts)
    ]


def machine_problems(loaded: "Config", files: int, free: int) -> list[str]:
    """Return one line per limit of this machine that is too low.

    `files`: how many files a process may open; `free`: free bytes on the disk of the state folder.
    """
    problems = []
    needed = loaded.ingress.max_connections + SPARE_FILES
    if files < needed:
        problems.append(
            f"a process may open {files} files, and [ingress] max_connections = {loaded.ingress.max_connections} needs "
            f"{needed}: raise the limit (`ulimit -n {needed}`, or LimitNOFILE of the service), or lower the setting"
        )
    if free < LITTLE_DISK:
        problems.append(
            f"{free // 1024**2} MB are free on the disk of the state folder: RabbitMQ stops accepting messages when "
            "its disk is nearly full; free some space"
        )
    return problems


def _file_limit() -> int:
    import resource

    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # our processes raise the soft limit to it
    return (1 << 62) if hard == resource.RLIM_INFINITY else hard


def _free_bytes(state: Path | None) -> int:
    import shutil

    folder = states.folder(state).absolute()
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def _rules(loaded: "Config") -> list[Finding]:
    """Check the accounts' routing rules, and the operator's data files that the rules use."""
    from workers.route import answers

    rules_by_platform = {name: answerer.rules for name, answerer in answers.answerers().items() if answerer.rules}
    findings: list[Finding] = []
    for platform, rules in rules_by_platform.items():
        if rules.files is not None:
            try:
                folder = rules.files.load()
            except (OSError, ValueError) as error:
                problem = explain(error) or f"{error}: correct the file, or leave it out"
                findings.append(Finding(rules.files.name, [problem]))
                continue  # the rules cannot be checked without it
            if folder is not None:
                findings.append(Finding(rules.files.name, [], folder))
        findings += [
            Finding(f"rules of {platform}/{name}", rules.check(account), f"{rules.count(account)} of them")
            for name, account in loaded.accounts.get(platform, {}).items()
        ]
    return findings
