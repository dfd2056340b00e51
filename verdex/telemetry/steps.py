"""The spans of a job as its steps: all attempts of one are one step, and so are many that did alike, and well."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from verdex.telemetry.otlp import StoredEvent, StoredSpan

RESULT: Final = "verdex.result."
"""Begin of the names of the attributes that say what became of a job which is completed."""
_ATTEMPT: Final = "attempt"
_TIMES: Final = "×"  # noqa: RUF001
_ALIKE: Final = 8
"""More steps of one name than these under one parent are drawn as one, unless they are worth a look."""

_UNTOLD: Final = ("db.", "error.", "server.", "temporal", RESULT)
"""Begins of the names of attributes that are for backends: the name of the span, or its error, says the same."""
_ROWS: Final = "db.response.returned_rows"

_Children = Mapping[str | None, Sequence[StoredSpan]]


@dataclass(frozen=True, slots=True)
class Problem:
    """What failed, how often in the same words (but for numbers), and the last of them."""

    kind: str
    message: str
    count: int

    @property
    def text(self) -> str:
        """One line, free of what a terminal would obey."""
        told = f"{self.kind} {_TIMES}{self.count}, last" if self.count > 1 else self.kind
        return one_line(f"{told}: {self.message}" if told else self.message)


@dataclass(frozen=True)
class Step:
    """Spans that are drawn in one line, the oldest first; `children` are those of the last attempt."""

    spans: Sequence[StoredSpan]
    children: Sequence["Step"]
    alike: int = 1
    """How many steps this stands for."""

    @property
    def name(self) -> str:
        """Name of all the spans."""
        return self.spans[-1].name

    @property
    def failed(self) -> bool:
        """Whether the last attempt did."""
        return self.spans[-1].status == "error"

    @property
    def nanoseconds(self) -> int:
        """From the begin of the first span to the end of the last."""
        return max(span.end_ns for span in self.spans) - self.spans[0].start_ns

    @property
    def attributes(self) -> dict[str, Any]:
        """What tells it from others."""
        return _telling(self.spans[-1]) if self.alike == 1 else {}

    @property
    def is_retried(self) -> bool:
        """Whether it took more than one attempt."""
        return self.alike == 1 and self._attempts > 1

    @property
    def note(self) -> str:
        """How many steps or attempts it is."""
        if self.alike > 1:
            longest = max(span.end_ns - span.start_ns for span in self.spans)
            return f"{_TIMES}{self.alike:,}, the longest {longest / 1e9:.2f} s"
        return f"{self._attempts} attempts" if self.is_retried else ""

    @property
    def _attempts(self) -> int:
        """The spans of an attempt whose worker was killed are lost, but not its number."""
        return max(len(self.spans), *map(_attempt, self.spans), 1)

    @cached_property
    def problems(self) -> list[Problem]:
        """Why attempts failed, in the order of the first of each kind."""
        found: dict[tuple[str, str], list[str]] = defaultdict(list)
        for span in self.spans:
            for kind, message in dict.fromkeys(_problems(span)):
                found[kind, re.sub(r"\d+", "0", message)].append(message)
        return [Problem(kind, messages[-1], len(messages)) for (kind, _), messages in found.items()]


def steps(spans: Sequence[StoredSpan]) -> list[Step]:
    """The steps at the root, by start time; a span whose parent is not among the spans is one of them."""
    known = {span.span_id for span in spans}
    children: dict[str | None, list[StoredSpan]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start_ns):
        children[span.parent_span_id if span.parent_span_id in known else None].append(span)
    return _steps(None, children)


def one_line(text: str) -> str:
    """Keep a message from breaking the tree, or from sending escape codes to the terminal."""
    return "".join(character for character in " ".join(text.split()) if character.isprintable())


def _steps(parent: str | None, children: _Children) -> list[Step]:
    found = [Step(spans, _steps(spans[-1].span_id, children)) for spans in _attempts(children.get(parent, ()))]
    return list(_summed_up(found))


def _attempts(spans: Iterable[StoredSpan]) -> list[list[StoredSpan]]:
    """Put what tries again what failed behind that."""
    groups: list[list[StoredSpan]] = []
    open_groups: dict[str, list[list[StoredSpan]]] = defaultdict(list)
    for span in spans:
        candidates = open_groups[span.name]
        group = next((one for one in candidates if _tries_again(one[-1], span)), None)
        if group is None:
            groups.append(group := [])
        else:
            candidates.remove(group)
        group.append(span)
        if span.status == "error":
            candidates.append(group)
    return groups


def _tries_again(failed: StoredSpan, span: StoredSpan) -> bool:
    before, now = _telling(failed), _telling(span)
    return failed.end_ns <= span.start_ns and all(before[key] == now[key] for key in before.keys() & now.keys())


def _summed_up(found: Sequence[Step]) -> Iterator[Step]:
    plain: dict[str, list[Step]] = defaultdict(list)
    for step in filter(_is_plain, found):
        plain[step.name].append(step)
    for step in found:
        alike = plain[step.name] if _is_plain(step) else []
        if len(alike) <= _ALIKE:
            yield step
        elif step is alike[0]:
            yield _folded(alike)


def _folded(alike: Sequence[Step]) -> Step:
    """One for all; so are their children, by name."""
    children: dict[str, list[Step]] = defaultdict(list)
    for child in (child for one in alike for child in one.children):
        children[child.name].append(child)
    spans = [span for one in alike for span in one.spans]
    return Step(spans, [_folded(group) for group in children.values()], alike=sum(one.alike for one in alike))


def _is_plain(step: Step) -> bool:
    return not (step.problems or step.is_retried) and all(map(_is_plain, step.children))


def _telling(span: StoredSpan) -> dict[str, Any]:
    """Attributes for people; without ids, which are long and say nothing beside the other spans of the same job."""
    return {key: value for key, value in span.attributes.items() if key == _ROWS or _tells(key)}


def _tells(key: str) -> bool:
    is_id = key.endswith(("_id", ".id", "ID"))
    return not is_id and not key.startswith(_UNTOLD) and key.rpartition(".")[2] != _ATTEMPT


def _attempt(span: StoredSpan) -> int:
    numbers = [value for key, value in span.attributes.items() if key.rpartition(".")[2] == _ATTEMPT]
    return max((number for number in numbers if isinstance(number, int)), default=1)


def _problems(span: StoredSpan) -> Iterator[tuple[str, str]]:
    if span.status != "error":
        if message := span.attributes.get(f"{RESULT}error_message"):
            yield "", str(message)
        return
    exceptions = [_problem(event) for event in span.events if event.type]
    yield from exceptions or [("", span.status_message or "failed without a message")]


def _problem(event: StoredEvent) -> tuple[str, str]:
    """Each layer that an error passes may have put its type before the message."""
    kind, message = str(event.type).rpartition(".")[2], event.message or ""
    while message.startswith(f"{kind}: "):
        message = message.removeprefix(f"{kind}: ")
    return kind, message
