"""Filters and orders of run history queries: the part of OData that clients send.

``ParentRunId eq null and (Status eq Completed or tags/team eq 'a b')``. The SDK writes texts without quotes, and those
of tags and properties with double ones.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from airflow_provider_amlbatch.emulator.errors import BadRequest

#: A document as a filter sees it: lower-case field names; ``tags`` and ``properties`` are mappings themselves.
Fields = Mapping[str, Any]
Predicate = Callable[[Fields], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<open>\()|(?P<close>\))|(?P<comma>,)|'(?P<text>(?:[^']|'')*)'|(?P<json>"(?:[^"\\]|\\.)*")"""
    r"""|(?P<word>[^\s(),'"]+))"""
)
#: No comparison holds for a key that is not there; the SDK asks for a tag with ``tags/x ne null or tags/x eq null``.
MISSING = object()

_OPERATORS = ("eq", "ne", "gt", "ge", "lt", "le")
_FUNCTIONS = ("contains", "startswith", "endswith")


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str


def compile_filter(text: str | None) -> Predicate:
    """Make a predicate out of a filter; no filter lets everything pass.

    :raises BadRequest: if it cannot be read, saying at what.
    """
    if text is None or not text.strip():
        return lambda _: True
    parser = _Parser(_tokens(text), text)
    predicate = parser.disjunction()
    parser.end()
    return predicate


def parse_order(text: str | list[str] | None) -> list[tuple[str, bool]]:
    """Read ``StartTimeUtc desc, RunId``.

    :returns: field in lower case and whether it descends.
    """
    clauses = ",".join(text) if isinstance(text, list) else text or ""
    order = []
    for clause in filter(None, (part.split() for part in clauses.split(","))):
        if len(clause) > 2 or (len(clause) == 2 and clause[1].lower() not in ("asc", "desc")):
            raise BadRequest(f"The order {' '.join(clause)!r} is not a field followed by 'asc' or 'desc'.")
        order.append((clause[0].lower(), len(clause) == 2 and clause[1].lower() == "desc"))
    return order


def field_of(fields: Fields, path: str) -> Any:
    """The value of ``field`` or ``tags/<key>``.

    :returns: None for null, and :data:`MISSING` for a key that there is not.
    """
    head, _, key = path.partition("/")
    value = fields.get(head.lower())
    if not key:
        return value
    return value.get(key, MISSING) if isinstance(value, Mapping) else MISSING


def _tokens(text: str) -> list[_Token]:
    tokens, position = [], 0
    text = text.rstrip()
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None or match.lastgroup is None:
            raise BadRequest(f"The filter {text!r} cannot be read at {text[position:]!r}.")
        tokens.append(_token(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return tokens


def _token(kind: str, text: str) -> _Token:
    if kind == "json":
        try:
            return _Token("text", str(json.loads(text)))
        except ValueError:
            raise BadRequest(f"The filter has the text {text}, which is not one.") from None
    return _Token(kind, text.replace("''", "'"))


class _Parser:
    """Recursive descent: ``or`` of ``and`` of terms."""

    def __init__(self, tokens: list[_Token], text: str) -> None:
        self._tokens = tokens
        self._text = text
        self._next = 0

    def disjunction(self, depth: int = 0) -> Predicate:
        terms = [self._conjunction(depth)]
        while self._keyword("or"):
            terms.append(self._conjunction(depth))
        return terms[0] if len(terms) == 1 else lambda fields: any(term(fields) for term in terms)

    def end(self) -> None:
        if self._next < len(self._tokens):
            raise self._wrong()

    def _conjunction(self, depth: int) -> Predicate:
        terms = [self._term(depth)]
        while self._keyword("and"):
            terms.append(self._term(depth))
        return terms[0] if len(terms) == 1 else lambda fields: all(term(fields) for term in terms)

    def _term(self, depth: int) -> Predicate:
        if depth > 50:
            raise BadRequest("The filter is nested too deeply.")
        if self._keyword("not"):
            term = self._term(depth + 1)
            return lambda fields: not term(fields)
        if self._accept("open"):
            inner = self.disjunction(depth + 1)
            self._expect("close")
            return inner
        name = self._expect("word").text
        if name.lower() in _FUNCTIONS and self._accept("open"):
            return self._function(name.lower())
        return self._comparison(name)

    def _function(self, name: str) -> Predicate:
        path = self._expect("word").text
        self._expect("comma")
        wanted = self._value()
        self._expect("close")

        def test(fields: Fields) -> bool:
            value = _text(field_of(fields, path))
            if value is None or wanted is None:
                return False
            if name == "startswith":
                return value.startswith(wanted)
            return value.endswith(wanted) if name == "endswith" else wanted in value

        return test

    def _comparison(self, path: str) -> Predicate:
        operator = self._expect("word").text.lower()
        if operator not in _OPERATORS:
            raise BadRequest(f"The filter {self._text!r} has {operator!r} where one of {_OPERATORS} belongs.")
        wanted = self._value()
        return lambda fields: _compare(field_of(fields, path), operator, wanted)

    def _value(self) -> str | None:
        token = self._take()
        if token is None or token.kind not in ("text", "word"):
            raise self._wrong()
        if token.kind == "text":
            return token.text
        words = [token.text]
        while (following := self._peek()) and following.kind == "word" and following.text.lower() not in ("and", "or"):
            words.append(following.text)  # the SDK writes ``2026-11-21 08:00:00`` and ``a b`` as they are
            self._next += 1
        return None if words == ["null"] else " ".join(words)

    def _keyword(self, word: str) -> bool:
        token = self._peek()
        if token is None or token.kind != "word" or token.text.lower() != word:
            return False
        self._next += 1
        return True

    def _accept(self, kind: str) -> bool:
        token = self._peek()
        if token is None or token.kind != kind:
            return False
        self._next += 1
        return True

    def _expect(self, kind: str) -> _Token:
        token = self._take()
        if token is None or token.kind != kind:
            raise self._wrong()
        return token

    def _peek(self) -> _Token | None:
        return self._tokens[self._next] if self._next < len(self._tokens) else None

    def _take(self) -> _Token | None:
        token = self._peek()
        self._next += 1
        return token

    def _wrong(self) -> BadRequest:
        at = self._tokens[self._next - 1].text if 0 < self._next <= len(self._tokens) else "the end"
        return BadRequest(f"The filter {self._text!r} cannot be read at {at!r}.")


def _compare(value: Any, operator: str, wanted: str | None) -> bool:
    if value is MISSING:
        return False
    if operator == "eq":
        return value is None if wanted is None else _equal(value, wanted)
    if operator == "ne":
        return value is not None if wanted is None else not _equal(value, wanted)
    if value is None or wanted is None:
        return False
    order = _order(value, wanted)
    return {"gt": order > 0, "ge": order >= 0, "lt": order < 0, "le": order <= 0}[operator]


def _equal(value: Any, wanted: str) -> bool:
    if value is None:
        return False
    if isinstance(value, datetime):
        return _order(value, wanted) == 0
    if isinstance(value, bool):
        return wanted.lower() == str(value).lower()
    return _text(value) == wanted


def _order(value: Any, wanted: str) -> int:
    left: Any
    right: Any
    try:
        if isinstance(value, datetime):
            left, right = value, datetime.fromisoformat(wanted)
            right = right if right.tzinfo is not None else right.replace(tzinfo=UTC)
        elif isinstance(value, int | float):
            left, right = float(value), float(wanted)
        else:
            left, right = str(value), wanted
    except ValueError:
        raise BadRequest(f"The filter compares {wanted!r} with a {type(value).__name__}.") from None
    return int(left > right) - int(left < right)


def _text(value: Any) -> str | None:
    return None if value is None or value is MISSING else str(value)
