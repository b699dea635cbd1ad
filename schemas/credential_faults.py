"""Faults of credentials that were copied from a file or a manual, such as quotes or the name of a header. Pure."""

import re
from enum import Enum, auto

_QUOTES = ('""', "''", "``", "“”", "„“", "„”", "‘’", "‚‘", "«»", "»«")
_HEADER_LINE = re.compile(r"(authorization|proxy-authorization|x-[a-z0-9-]+)\s*:", re.IGNORECASE)
_VARIABLE = re.compile(
    r"\$(?:env:)?[A-Z_][A-Z0-9_]*|\$\{[^}]*\}|\$\{\{[^}]*\}\}|\$\([^)]*\)|%[A-Z_][A-Z0-9_]*%"  # shells, PowerShell, CI
    r"|%env\([^)]*\)%|!?env[: ] *\S+|env\([^)]*\)|env\[.*\]|env\.[a-z_]\w*|(?:process|os)\.env(?:iron)?\b.*"
    r"|(?:os\.)?getenv\(.*\)",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"\{\{.*\}\}|<[^<>]*>|#\{[^{}]*\}#?|@@?[A-Z_][A-Z0-9_]*@@?|__[A-Z][A-Z0-9_]*__")
_EXAMPLE = re.compile(
    r"…|\.{3}|\*{3,}|to-?do|(?:change|replace)[-_ ]?(?:me|this|it)"
    r"|your[-_ ](?:[a-z0-9]{1,20}[-_ ]){0,3}(?:secret|key|token|password)(?:[-_ ]here)?",
    re.IGNORECASE,
)
_REFERENCE = re.compile(
    r"(?:file|vault|secrets?|secretref|secretsmanager|ssm|keyvault|keyring):\S|[a-z][a-z0-9+.-]*://\S"
    r"|arn:aws[a-z-]*:|projects/[^/\s]+/secrets/|@Microsoft\.KeyVault\(|\$ANSIBLE_VAULT;|!vault\b|ENC\[|ENC\(|\{cipher\}"
    r"|/(?:(?:var/)?run/secrets|etc|mnt|secrets|vault/secrets)/\S",
    re.IGNORECASE,
)
"""How stores of secrets, and tools that fill secrets in, refer to them; also the path of a mounted secret."""
_SCHEME = re.compile(r"(?:basic|bearer|token)\s+(?P<rest>.*)", re.IGNORECASE | re.DOTALL)


class Fault(Enum):
    """Why a text is probably not the credential that was meant."""

    QUOTES = auto()
    HEADER_LINE = auto()
    VARIABLE = auto()
    PLACEHOLDER = auto()
    REFERENCE = auto()
    EXAMPLE = auto()


def fault(text: str) -> Fault | None:
    """Return what is probably wrong with a credential as it is written; None if nothing is."""
    scheme = _SCHEME.fullmatch(text)  # as in `Bearer $TOKEN`
    return _fault(text) or (None if scheme is None else _fault(scheme["rest"].strip()))


def _fault(text: str) -> Fault | None:
    if len(text) > 1 and text[0] + text[-1] in _QUOTES:
        return Fault.QUOTES
    if _HEADER_LINE.match(text):
        return Fault.HEADER_LINE
    if _VARIABLE.fullmatch(text):
        return Fault.VARIABLE
    if _PLACEHOLDER.fullmatch(text):
        return Fault.PLACEHOLDER
    if _REFERENCE.match(text):
        return Fault.REFERENCE
    if _EXAMPLE.fullmatch(text):
        return Fault.EXAMPLE
    return None
