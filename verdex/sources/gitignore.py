"""One file of ignore rules: its lines as regular expressions over bytes, as git's wildmatch.c reads them."""

import re
from collections.abc import Callable
from functools import lru_cache
from string import ascii_letters, ascii_lowercase, ascii_uppercase, digits, hexdigits, printable, punctuation
from typing import NamedTuple

_MEMBER = rb"\[:[^]:]*:\]|\\.|[^]\\]"
_TOKEN = re.compile(
    rb"(?P<any_directories>(?<![^/])\*\*+/)|(?P<anything_below>(?<![^/])\*\*+\Z)|(?P<any_text>\*+)|(?P<any_byte>\?)"
    rb"|\[(?P<negated>[!^]?)(?P<members>(?:\]|" + _MEMBER + rb")(?:" + _MEMBER + rb")*)\]"
    rb"|\\(?P<escaped>.)|(?P<literal>[^[\\])",
    re.DOTALL,
)
_SPECIAL = re.compile(rb"[*?[\\]|\Z")
_RANGE = re.compile(rb"\[:(?P<named>[^]:]*):\]|(?P<first>\\.|.)(?:-(?P<last>\\.|[^]]))?", re.DOTALL)
_RANGE_OF_TEXT = re.compile(_RANGE.pattern.decode(), re.DOTALL)
_Bracket = Callable[[bytes, bool], bytes]
"""How a set of members, or of all others, is written."""
_NAMED = {
    b"alnum": ascii_letters + digits,
    b"alpha": ascii_letters,
    b"blank": " \t",
    b"cntrl": "".join(map(chr, (*range(32), 127))),
    b"digit": digits,
    b"graph": ascii_letters + digits + punctuation,
    b"lower": ascii_lowercase,
    b"print": ascii_letters + digits + punctuation + " ",
    b"punct": punctuation,
    b"space": "".join(character for character in printable if character.isspace()),
    b"upper": ascii_uppercase,
    b"xdigit": hexdigits,
}
_WILDCARDS = {
    "any_directories": b"(?:.*/)?",
    "anything_below": b".*",
    "any_text": b"[^/]*",
    "any_byte": b"[^/]",
}


class Rule(NamedTuple):
    """One line. Of the rules that match a path, the last decides."""

    keeps: bool
    directories_only: bool
    names_only: bool
    pattern: re.Pattern[bytes]

    def matches(self, path: bytes, *, is_directory: bool) -> bool:
        """`path` is relative to the directory that the rules are for."""
        if self.directories_only and not is_directory:
            return False
        return bool(self.pattern.fullmatch(path.rpartition(b"/")[2] if self.names_only else path))


@lru_cache(maxsize=1024)
def parsed(text: bytes) -> tuple[Rule, ...]:
    """Give the rules of a file; lines that can never match are left out."""
    lines = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    return tuple(rule for line in lines if (rule := _rule(line.removesuffix(b"\r"))))


def path_expression(glob: str) -> str | None:
    """A glob as a regular expression over whole paths of files, for Python and PostgreSQL; None if it is malformed.

    It means what it does as a rule: without a slash it matches names at any depth, and what matches a directory
    matches all that is below. What is a byte to git is a character here.
    """
    read = _read(glob.removeprefix("./").encode())
    expression = None if read is None or read.keeps else _expression(read.glob, _bracket_of_text)
    if read is None or expression is None:
        return None
    above, below = "(?:.*/)?" if read.names_only else "", "/.*" if read.directories_only else "(?:/.*)?"
    return f"^{above}(?:{expression.decode()}){below}$"


class _Read(NamedTuple):
    keeps: bool
    directories_only: bool
    names_only: bool
    glob: bytes


def _read(line: bytes) -> _Read | None:
    if line.startswith(b"#"):
        return None
    glob = _without_trailing_spaces(line)
    keeps = glob.startswith(b"!")
    glob = glob.removeprefix(b"!")
    directories_only = glob.endswith(b"/")
    glob = glob.removesuffix(b"/")
    return _Read(keeps, directories_only, b"/" not in glob, glob.removeprefix(b"/"))


def _rule(line: bytes) -> Rule | None:
    read = _read(line)
    expression = _expression(read.glob, _bracket) if read else None
    if read is None or expression is None:
        return None
    return Rule(read.keeps, read.directories_only, read.names_only, re.compile(expression, re.DOTALL))


def _without_trailing_spaces(line: bytes) -> bytes:
    characters = re.findall(rb"\\.|.", line, re.DOTALL)
    while characters and characters[-1] == b" ":
        characters.pop()
    return b"".join(characters)


def _expression(glob: bytes, bracket: _Bracket) -> bytes | None:
    # Git compares the name before by itself, so that stars after it begin a pattern: "a**/b" matches "a/x/y/b".
    literal = next(_SPECIAL.finditer(glob)).start()
    rest = glob[literal:]
    parts = [re.escape(glob[:literal])]
    end = 0
    while token := _TOKEN.match(rest, end):
        parts.append(_translated(token, bracket))
        end = token.end()
    return b"".join(parts) if glob and end == len(rest) else None


def _translated(token: re.Match[bytes], bracket: _Bracket) -> bytes:
    if token["members"]:
        return bracket(token["members"], bool(token["negated"]))
    kind = token.lastgroup or ""
    return _WILDCARDS.get(kind) or re.escape(token[kind])


def _bracket(members: bytes, negated: bool) -> bytes:
    chosen: set[int] = set()
    for member in _RANGE.finditer(members):
        if member["named"] is not None:
            chosen.update(_NAMED.get(member["named"], "").encode())
        else:
            first, last = member["first"][-1], (member["last"] or member["first"])[-1]
            chosen.update(range(first, last + 1))
    allowed = (set(range(256)) - chosen if negated else chosen) - {ord("/")}
    return b"[" + b"".join(rb"\x%02x" % byte for byte in sorted(allowed)) + b"]" if allowed else b"(?!)"


def _bracket_of_text(members: bytes, negated: bool) -> bytes:
    ranges = []
    for member in _RANGE_OF_TEXT.finditer(members.decode()):
        if member["named"] is not None:
            ranges += [(one, one) for one in _NAMED.get(member["named"].encode(), "")]
        elif (first := member["first"][-1]) <= (last := (member["last"] or member["first"])[-1]):
            ranges.append((first, last))
    chosen = "".join(f"{_code(first)}-{_code(last)}" for first, last in ranges)
    if negated:
        return f"[^/{chosen}]".encode()
    return f"(?!/)[{chosen}]".encode() if chosen else b"(?!)"


def _code(one: str) -> str:
    """A character, as a member of a set in both languages."""
    return f"\\U{ord(one):08x}"
