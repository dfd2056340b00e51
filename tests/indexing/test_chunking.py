import ast
import multiprocessing
import random
import sysconfig
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from textwrap import dedent

import pytest

from verdex.indexing.chunking import MAX_CHARS, MAX_LINES, Chunk, chunk
from verdex.indexing.languages import GRAMMARS

LIBRARY = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[::8]


def assert_whole(content: str, chunks: list[Chunk]) -> None:
    """Every non-blank line once and in order, no overlap, and no chunk above its bounds."""
    rows = content.split("\n")
    at = 0
    for each in chunks:
        assert at < each.start_line <= each.end_line
        assert each.content == "\n".join(rows[each.start_line - 1 : each.end_line])
        if each.end_line > each.start_line:
            assert each.end_line - each.start_line < MAX_LINES
            assert len(each.content.replace("\n", "")) <= MAX_CHARS
        at = each.end_line
    held = [row for each in chunks for row in each.content.split("\n") if row.strip()]
    assert held == [row for row in rows if row.strip()]


def named(chunks: list[Chunk]) -> list[tuple[str, str]]:
    return [(each.kind, each.symbol) for each in chunks if each.symbol]


def padded(template: str) -> str:
    """The template, dedented, with each line PAD made 40 lines, so that its scopes are too big for one chunk."""
    lines = dedent(template).strip("\n").split("\n")
    return "\n".join(line.replace("PAD", f"x{n}") for line in lines for n in range(40 if "PAD" in line else 1))


@pytest.mark.parametrize("path", LIBRARY, ids=lambda path: path.name)
def test_a_real_module_is_held_whole_and_each_of_its_top_level_definitions_has_a_chunk(path):
    content = path.read_bytes().decode("utf-8", "replace")
    chunks = chunk(content, "python")
    assert_whole(content, chunks)
    symbols = {each.symbol for each in chunks}
    for node in ast.parse(content).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.end_lineno != node.lineno:
            assert node.name in symbols


@pytest.mark.parametrize("language", [*GRAMMARS, None])
def test_any_text_is_held_whole_in_any_language(language):
    dice = random.Random(7)  # noqa: S311 - not for secrets
    pieces = ["\n", "\n", "\n\n", "{", "}", "(", "x", "=", "def f():", "class A {", "# a", "/*", "*/", "\r\n", "\r"]
    pieces += ["\x0c", "\u2028", "\x00", "\ud800", "é", "`", '"', "end", "fn f() {", "  ", "\t", "<?php", "y" * 500]
    for _ in range(60):
        content = "".join(dice.choices(pieces, k=dice.randrange(400)))
        assert_whole(content, chunk(content, language))


@pytest.mark.parametrize("language", ["python", "markdown", None])
@pytest.mark.parametrize("content", ["", "\n", " \n\t\r\n\x0c\n"])
def test_white_space_has_no_chunks(content, language):
    assert chunk(content, language) == []


def test_lines_end_at_line_feeds_only_and_their_ends_are_kept():
    assert chunk("a\rb\x0cc\u2028d\r\ne\r\n", None) == [(1, 2, "text", None, "a\rb\x0cc\u2028d\r\ne\r")]


def test_module_code_a_function_and_a_class_are_chunks_each():
    content = dedent('''\
        """Doc."""

        import os


        # Says hello.
        # Twice.
        @os.cache
        def hello():
            return 1


        class Parser:
            def feed(self):
                return 2

        hello()
    ''')
    assert [each[:4] for each in chunk(content, "python")] == [
        (1, 3, "module", None),
        (6, 10, "function", "hello"),
        (13, 15, "class", "Parser"),
        (17, 17, "module", None),
    ]


def test_definitions_that_touch_are_chunks_of_their_own():
    content = "int f()\n{\n}\nint g()\n{\n}\n// h\nint h()\n{\n}"
    assert [each[:4] for each in chunk(content, "c")] == [
        (1, 3, "function", "f"),
        (4, 6, "function", "g"),
        (7, 10, "function", "h"),
    ]


def test_a_comment_apart_from_a_definition_does_not_lead_it():
    content = "# licence\n\ndef f():\n    return 1\n"
    assert [each[:4] for each in chunk(content, "python")] == [(1, 1, "module", None), (3, 4, "function", "f")]


def test_a_class_too_big_is_cut_along_its_methods():
    content = padded("""
        class Parser:
            limit = 1

            # Takes more.
            def feed(self):
                PAD

            def close(self):
                PAD
    """)
    assert [each[:4] for each in chunk(content, "python")] == [
        (1, 2, "class", "Parser"),
        (4, 45, "method", "Parser.feed"),
        (47, 87, "method", "Parser.close"),
    ]


def test_a_function_too_big_is_cut_at_a_blank_line():
    body = ["    x()"] * 34 + [""] + ["    x()"] * 34
    chunks = chunk("\n".join(["def f():", *body]), "python")
    assert [each[:4] for each in chunks] == [(1, 35, "function", "f"), (37, 70, "function", "f")]


def test_definitions_of_one_line_share_a_chunk_and_one_alone_keeps_its_name():
    assert named(chunk("type A = string;\ntype B = number;\n", "typescript")) == []
    assert named(chunk("\n\ntype A = string;\n", "typescript")) == [("type", "A")]


def test_the_end_of_a_scope_stays_with_its_last_member():
    content = padded("""
        class A {
          void f() {
            PAD();
          }
          void g() {
            PAD();
          }
        }
    """)
    assert chunk(content, "java")[-1].content.endswith("  }\n}")


def test_the_equations_of_a_function_are_one_chunk():
    content = "module M where\n\n-- | Doc\nf :: Int -> Int\nf 0 = 1\nf n =\n  n\n"
    assert [each[:4] for each in chunk(content, "haskell")] == [(1, 1, "module", None), (3, 7, "function", "f")]


NESTED = {
    "javascript": (
        """
        (function () {
          exports.parse = (text) => {
            PAD();
          };
          class A {
            get b() {
              PAD();
            }
            c = () => {
              PAD();
            };
          }
        })();
        """,
        [("function", "exports.parse"), ("class", "A"), ("method", "A.b"), ("method", "A.c")],
    ),
    "typescript": (
        """
        export namespace N {
          interface I {
            PAD: string;
          }
          export abstract class A<T> {
            @dec()
            f(): void {
              PAD();
            }
            g(): void {
              PAD();
            }
          }
        }
        """,
        [("namespace", "N"), ("interface", "N.I"), ("class", "N.A"), ("method", "N.A.f"), ("method", "N.A.g")],
    ),
    "go": (
        """
        package a
        type (
          S struct {
            PAD int
          }
        )
        func (s *S) Feed() {
          PAD()
        }
        """,
        [("struct", "S"), ("method", "S.Feed")],
    ),
    "rust": (
        """
        impl<T> Read for a::Parser<T> {
            /// Doc
            fn feed() {
                PAD();
            }
            fn close() {
                PAD();
            }
        }
        """,
        [("impl", "a.Parser"), ("method", "a.Parser.feed"), ("method", "a.Parser.close")],
    ),
    "c": (
        """
        #ifndef A_H
        #ifdef __cplusplus
        extern "C" {
        #endif
        static char **names(void)
        {
            PAD();
        }
        typedef struct {
            int PAD;
        } pair;
        #ifdef __cplusplus
        }
        #endif
        #endif
        """,
        [("function", "names"), ("struct", "pair")],
    ),
    "cpp": (
        """
        namespace n {
        template <class T>
        class A {
        public:
          A() {
            PAD();
          }
          bool operator==(const A &a) {
            PAD();
          }
        };
        void A::feed() {
          PAD();
        }
        }
        """,
        [
            ("namespace", "n"),
            ("class", "n.A"),
            ("method", "n.A.A"),
            ("method", "n.A.operator=="),
            ("method", "n.A.feed"),
        ],
    ),
    "ruby": (
        """
        module M
          class A
            def f
              PAD
            end
            class << self
              def g
                PAD
              end
              def h
                PAD
              end
            end
          end
        end
        """,
        [("module", "M"), ("class", "M.A"), ("method", "M.A.f"), ("method", "M.A.g"), ("method", "M.A.h")],
    ),
    "elixir": (
        """
        defmodule A.B do
          @doc "x"
          def f(x) when x > 1 do
            PAD
          end
          defp g(x) do
            PAD
          end
        end
        """,
        [("module", "A.B"), ("function", "A.B.f"), ("function", "A.B.g")],
    ),
    "swift": (
        """
        public class A: B {
            func f() {
                PAD()
            }
            init() {
                PAD()
            }
        }
        """,
        [("class", "A"), ("method", "A.f"), ("method", "A.init")],
    ),
    "kotlin": (
        """
        class A(val a: Int) {
            fun f(): Int {
                PAD()
            }
            companion object {
                fun g() {
                    PAD()
                }
                fun h() {
                    PAD()
                }
            }
        }
        """,
        [("class", "A"), ("method", "A.f"), ("object", "A"), ("method", "A.g"), ("method", "A.h")],
    ),
    "markdown": (
        """
        # Guide

        ## Install
        PAD

        ## Use
        PAD
        """,
        [("section", "Guide"), ("section", "Guide > Install"), ("section", "Guide > Use")],
    ),
}


@pytest.mark.parametrize("language", NESTED)
def test_nested_definitions_are_named_after_the_scopes_they_are_in(language):
    template, expected = NESTED[language]
    content = padded(template)
    chunks = chunk(content, language)
    assert_whole(content, chunks)
    assert list(dict.fromkeys(named(chunks))) == expected


PATHOLOGICAL = {
    "one line of a megabyte": ("var a=1;" * 125_000, "javascript"),
    "a register header": ("".join(f"#define REG_{n} {n:#x}\n" for n in range(300_000)), "c"),
    "a large table": ("[\n" + " [1, 2, 3],\n" * 400_000 + "]\n", "json"),
    "deep parentheses": (("(" * 900 + "\n") * 120, "python"),
    "deep parentheses, a row each": ("(\n" * 100_000, "python"),
    "deep blocks": ("{\n" * 100_000, "c"),
    "deep classes": ("class A {\n" * 20_000 + "}\n" * 20_000, "java"),
    "open templates": ("template<\n" * 20_000 + "{", "cpp"),
    "small functions": ("int f()\n{\n}\n" * 20_000, "c"),
    "blank lines": ("a {" + "\n" * 1_000_000 + "}", "c"),
}


@pytest.mark.parametrize("name", PATHOLOGICAL)
def test_a_pathological_file_is_cut_in_seconds(name):
    content, language = PATHOLOGICAL[name]
    started = time.process_time()
    chunks = chunk(content, language)
    assert time.process_time() - started < 10
    assert_whole(content, chunks)


def test_a_register_header_gives_full_chunks():
    chunks = chunk(PATHOLOGICAL["a register header"][0], "c")
    assert len(chunks) == 300_000 / MAX_LINES


def test_a_worker_process_cuts_the_same():
    content = LIBRARY[0].read_text("utf-8")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(chunk, content, "python").result() == chunk(content, "python")
