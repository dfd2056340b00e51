import pytest

from verdex.indexing.languages import EXTENSIONS, FILE_NAMES, GRAMMARS, INTERPRETERS, ROLES, grammar, kinds, language_of


@pytest.mark.parametrize(
    ("path", "language"),
    [
        ("a/b/parser.py", "python"),
        ("view.TSX", "tsx"),
        ("index.d.ts", "typescript"),
        ("lib.mjs", "javascript"),
        ("include/list.h", "c"),
        ("include/list.hpp", "cpp"),
        ("Program.cs", "csharp"),
        ("Rakefile", "ruby"),
        ("home/.bashrc", "bash"),
        ("data.json", None),
        ("Makefile", None),
        (".gitignore", None),
        ("README", None),
    ],
)
def test_a_file_is_known_by_its_name_or_extension(path, language):
    assert language_of(path, b"") == language


@pytest.mark.parametrize(
    ("head", "language"),
    [
        (b"#!/bin/sh\n", "bash"),
        (b"#!/usr/bin/zsh -f\n", "bash"),
        (b"#!/usr/bin/env python3\nimport os\n", "python"),
        (b"#!/usr/bin/python3.12 -u\n", "python"),
        (b"#! /usr/bin/env -S LANG=C ruby -w\r\n", "ruby"),
        (b"#!/usr/bin/env node", "javascript"),
        (b"#!/usr/bin/lua5.4\n", "lua"),
        (b"#!/usr/bin/perl\n", None),
        (b"# python\n", None),
        (b"\xff\xfe#!/bin/sh\n", None),
        (b"", None),
    ],
)
def test_a_file_without_extension_is_known_by_its_shebang(head, language):
    assert language_of("bin/tool", head) == language


def test_an_extension_outweighs_a_shebang():
    assert language_of("notes.txt", b"#!/bin/sh\n") is None


@pytest.mark.parametrize("table", [EXTENSIONS, FILE_NAMES, INTERPRETERS])
def test_every_language_in_a_table_has_a_grammar(table):
    assert set(table.values()) <= GRAMMARS.keys()


@pytest.mark.parametrize("language", GRAMMARS)
def test_every_query_compiles_and_each_of_its_patterns_says_what_it_captures(language):
    query = grammar(language).query
    assert query.pattern_count > 0
    captures = {query.capture_name(index) for index in range(query.capture_count)}
    assert captures - ROLES
    assert captures - ROLES <= kinds()


def test_a_grammar_is_loaded_once():
    assert grammar("python") is grammar("python")
