"""Keeps secrets out of all that is told: log lines, spans, rows, histories, messages.

In two ways: the secrets that this process was given are known, and hidden wherever they stand, however they are quoted
or encoded; others are hidden where they look like one.
"""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final
from urllib.parse import unquote, unquote_plus

HIDDEN: Final = "***"

_KEYS: Final = r"(?:password|passwd|passphrase|pwd|secret|token|api[-_]?key)"
_VALUE: Final = r"""(\*{3}(?![^\s,;&'")}\]])|'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s&]+)"""
_IN_HTTP: Final = re.compile(r"(?i)(https?://)[^\s/@?#]+@")
# Up to the last @: a password may hold one, and to hide too much does less harm than to show a part of it.
_IN_URL: Final = re.compile(r"(://[^\s:/@]*):\S{0,4096}@")
_NAMED: Final = re.compile(rf"""(?i)({_KEYS}\\*["']?\s*=\s*|{_KEYS}\\*["']\s*:\s*|api[-_]?key:\s*){_VALUE}""")
_HEADER: Final = re.compile(
    r"""(?i)(authorization\\*["']?\s*[:=]\s*\\*["']?(?:(?:bearer|basic|token)\s+)?|\bbearer\s+(?=\S{12}))[^\s"',]+"""
)
_TOKEN: Final = re.compile(
    r"\b(?:gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}|eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+)"
)
_WORDS: Final = ("pass", "pwd", "secret", "token", "api", "authorization", "bearer")
_PREFIXES: Final = ("gh", "glpat-", "eyJ")
_SECRET_VARIABLE: Final = re.compile(r"(?i)(?:password|passwd|passphrase|secret|token|api_?key)$")


class _Known:
    """The secrets of this process, and the pattern of all their spellings."""

    secrets: frozenset[str] = frozenset()
    pattern: re.Pattern[str] | None = None


def redact(text: str) -> str:
    """Replace the secrets in a text by `***`: known ones, passwords in URLs and settings, API keys, tokens."""
    if _Known.pattern is not None:
        text = _Known.pattern.sub(HIDDEN, text)
    if "://" in text:
        text = _IN_URL.sub(rf"\1:{HIDDEN}@", _IN_HTTP.sub(rf"\1{HIDDEN}@", text))
    lowered = text.lower()
    if any(word in lowered for word in _WORDS):
        text = _HEADER.sub(rf"\1{HIDDEN}", _NAMED.sub(rf"\1{HIDDEN}", text))
    if any(prefix in text for prefix in _PREFIXES):
        text = _TOKEN.sub(HIDDEN, text)
    return text


def keep_secret(*secrets: str) -> None:
    """Hide these from now on in all texts of this process, percent-encoded and escaped as well.

    Short ones and plain words are left to the patterns: to hide `postgres` everywhere would make texts unreadable.
    """
    _Known.secrets |= {secret for secret in secrets if _is_distinctive(secret)}
    # The longest first: one may begin with another.
    spellings = map(_any_spelling, sorted(_Known.secrets, key=len, reverse=True))
    _Known.pattern = re.compile("|".join(spellings)) if _Known.secrets else None


def keep_secrets_of(environment: Mapping[str, str]) -> None:
    """Hide what the variables of a process hold: passwords in URLs, `…PASSWORD`, `…_API_KEY`, `…_TOKEN`, headers.

    So also those of PostgreSQL's password file.
    """
    keep_secret(*_of_password_file(environment))
    for name, value in environment.items():
        keep_secret(*_in_url(value))
        if _SECRET_VARIABLE.search(name):
            keep_secret(value)
        elif name.upper().endswith("_HEADERS"):
            keep_secret(*_in_headers(value))


def _is_distinctive(secret: str) -> bool:
    return len(secret) >= 16 or (len(secret) >= 8 and not secret.isalpha() and not secret.isdigit())


def _in_url(url: str) -> Iterator[str]:
    """The password, as it is written and as it is meant; also where the rest is malformed."""
    _, separator, rest = url.partition("://")
    if not separator:
        return
    user, _, password = rest.rpartition("@")[0].partition(":")
    found = [password or user, *(value for _, value in re.findall(rf"(?i)({_KEYS}=)([^&\s]+)", rest))]
    for secret in found:
        yield from (secret, unquote(secret), unquote_plus(secret))


def _in_headers(headers: str) -> Iterator[str]:
    """As OpenTelemetry has them: `name=value,…`, percent-encoded; of `Bearer …` the last word."""
    for header in headers.split(","):
        yield from unquote(header.partition("=")[2]).split()[-1:]


def _of_password_file(environment: Mapping[str, str]) -> Iterable[str]:
    with suppress(OSError, RuntimeError, ValueError):
        given = environment.get("PGPASSFILE")
        path = Path(given) if given else Path.home() / ".pgpass"
        for line in path.read_text(errors="surrogateescape").splitlines():
            fields = re.split(r"(?<!\\):", line, maxsplit=4)
            if len(fields) == 5:  # asyncpg takes the last one as it is written, libpq without its escapes
                yield from (fields[4], re.sub(r"\\(.)", r"\1", fields[4]))


def _any_spelling(secret: str) -> str:
    """A pattern of a secret in which any character may be percent-encoded or escaped."""
    return "".join(map(_any_character, secret))


def _any_character(character: str) -> str:
    octets = character.encode(errors="surrogatepass")
    percent = "".join(f"%{octet:02x}" for octet in octets)
    spellings = [re.escape(character), f"(?i:{percent})"]
    if character == " ":
        spellings.append(r"\+")
    elif character in "'\"\\":
        spellings[0] = rf"\\*{spellings[0]}"
    elif not character.isascii():  # as Python and JSON write it, perhaps twice over
        utf16 = character.encode("utf-16-le", errors="surrogatepass")
        escaped = "".join(rf"\\+x{octet:02x}" for octet in octets)
        units = "".join(rf"\\+u{unit:04x}" for unit in struct.unpack(f"<{len(utf16) // 2}H", utf16))
        code = ord(character)
        spellings.append(rf"(?i:\\+(?:x{code:02x}|U{code:08x})|{units}|{escaped})")
    return f"(?:{'|'.join(spellings)})"
