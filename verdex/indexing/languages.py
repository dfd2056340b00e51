"""The languages that verdex cuts along their syntax: how to tell them, and their grammars.

Everything about a language that is not code lives in the tables here and in `queries/<name>.scm`, which says what a
definition is: each pattern captures one by its kind (`@function`, `@class`, …), its `@name`, where the text gives one
the `@scope` it belongs to, and as `@lead` what may stand directly above it (comments, decorators, attributes).
"""

import re
from functools import cache
from importlib import import_module
from importlib.resources import files
from typing import Final, NamedTuple

from tree_sitter import Language, Parser, Query

# language: (grammar module, its function, query)
GRAMMARS: Final[dict[str, tuple[str, str, str]]] = {
    "bash": ("tree_sitter_bash", "language", "bash"),
    "c": ("tree_sitter_c", "language", "c"),
    "cpp": ("tree_sitter_cpp", "language", "cpp"),
    "csharp": ("tree_sitter_c_sharp", "language", "csharp"),
    "css": ("tree_sitter_css", "language", "css"),
    "elixir": ("tree_sitter_elixir", "language", "elixir"),
    "go": ("tree_sitter_go", "language", "go"),
    "haskell": ("tree_sitter_haskell", "language", "haskell"),
    "java": ("tree_sitter_java", "language", "java"),
    "javascript": ("tree_sitter_javascript", "language", "javascript"),
    "julia": ("tree_sitter_julia", "language", "julia"),
    "kotlin": ("tree_sitter_kotlin", "language", "kotlin"),
    "lua": ("tree_sitter_lua", "language", "lua"),
    "markdown": ("tree_sitter_markdown", "language", "markdown"),
    "php": ("tree_sitter_php", "language_php", "php"),
    "python": ("tree_sitter_python", "language", "python"),
    "ruby": ("tree_sitter_ruby", "language", "ruby"),
    "rust": ("tree_sitter_rust", "language", "rust"),
    "scala": ("tree_sitter_scala", "language", "scala"),
    "swift": ("tree_sitter_swift", "language", "swift"),
    "tsx": ("tree_sitter_typescript", "language_tsx", "typescript"),
    "typescript": ("tree_sitter_typescript", "language_typescript", "typescript"),
}

# A header is taken for C: most are valid in both, and what is not, the C grammar recovers from.
EXTENSIONS: Final[dict[str, str]] = {
    extension: language
    for language, extensions in {
        "bash": "bash bats ebuild eclass ksh sh zsh",
        "c": "c h",
        "cpp": "c++ cc cpp cu cuh cxx h++ hh hpp hxx inl ipp ixx tcc tpp",
        "csharp": "cs csx",
        "css": "css",
        "elixir": "ex exs",
        "go": "go",
        "haskell": "hs",
        "java": "java",
        "javascript": "cjs es6 js jsx mjs",
        "julia": "jl",
        "kotlin": "kt kts",
        "lua": "lua rockspec",
        "markdown": "markdown md mdown mkd",
        "php": "php php3 php4 php5 php7 phps phtml",
        "python": "bzl py pyi pyw wsgi",
        "ruby": "gemspec podspec rake rb rbi ru",
        "rust": "rs",
        "scala": "sbt sc scala",
        "swift": "swift",
        "tsx": "tsx",
        "typescript": "cts mts ts",
    }.items()
    for extension in extensions.split()
}

FILE_NAMES: Final[dict[str, str]] = {
    name: language
    for language, names in {
        "bash": ".bash_aliases .bash_login .bash_logout .bash_profile .bashrc .envrc .profile .zprofile .zshenv .zshrc",
        "python": "BUCK BUILD SConscript SConstruct WORKSPACE wscript",
        "ruby": ".irbrc Berksfile Brewfile Capfile Dangerfile Fastfile Gemfile Guardfile Podfile Rakefile Vagrantfile",
    }.items()
    for name in names.split()
}

INTERPRETERS: Final[dict[str, str]] = {
    program: language
    for language, programs in {
        "bash": "ash bash dash ksh sh zsh",
        "elixir": "elixir",
        "haskell": "runghc runhaskell stack",
        "javascript": "bun node nodejs",
        "julia": "julia",
        "lua": "lua luajit",
        "php": "php",
        "python": "pypy python uv",
        "ruby": "jruby ruby",
        "scala": "scala",
        "swift": "swift",
        "typescript": "deno ts-node",
    }.items()
    for program in programs.split()
}

# "#!/usr/bin/env -S LANG=C python3.12 -u" names python: versions, options and settings are not part of the name.
_SHEBANG: Final = re.compile(
    rb"#![ \t]*(?:\S*/env[ \t]+(?:(?:-\S+|\w+=\S*)[ \t]+)*)?(?:\S*/)?([A-Za-z][A-Za-z-]*)[\d.]*(?=\s|$)"
)


ROLES: Final = frozenset({"keyword", "lead", "name", "scope"})
"""Captures that are no kind of definition."""
OUTSIDE: Final = frozenset({"module", "text"})
"""Kinds of what is outside of definitions."""


class Grammar(NamedTuple):
    """What it takes to find the definitions of a language; belongs to one process."""

    parser: Parser
    query: Query


def language_of(path: str, head: bytes) -> str | None:
    """Name the language of a file ("python", "tsx", …), or None where verdex has no grammar for it.

    The file name decides, then the extension, and for files without one the shebang in `head`, the first bytes
    of the content (one line is enough).
    """
    name = path.rpartition("/")[2]
    if name in FILE_NAMES:
        return FILE_NAMES[name]
    stem, _, extension = name.rpartition(".")
    if stem and extension:
        return EXTENSIONS.get(extension.lower())
    shebang = _SHEBANG.match(head[:256])
    return INTERPRETERS.get(shebang[1].decode().lower()) if shebang else None


@cache
def grammar(language: str) -> Grammar:
    """Load parser and query of a language that `GRAMMARS` names, once in each process."""
    module, function, query = GRAMMARS[language]
    loaded = Language(getattr(import_module(module), function)())
    source = files(__package__).joinpath("queries", f"{query}.scm").read_text("utf-8")
    return Grammar(Parser(loaded), Query(loaded, source))


@cache
def kinds() -> frozenset[str]:
    """All kinds that a chunk can be of."""
    queries = (file.read_text("utf-8") for file in files(__package__).joinpath("queries").iterdir())
    captures = {capture for query in queries for capture in re.findall(r"@(\w+)", re.sub(";.*", "", query))}
    return frozenset(captures) - ROLES | OUTSIDE | {"method"}
