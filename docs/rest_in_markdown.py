"""Docstrings are reST, pages are Markdown: rewrite the few reST habits that would show."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":\w+:`~?([^`<]+?)`")


def _plain(text: str) -> str:
    text = _ROLE.sub(lambda match: f"`{match[1].rsplit('.', 1)[-1]}`", text)
    return re.sub(r"::$", ":", text, flags=re.MULTILINE)


class RestInMarkdown(griffe.Extension):
    """Turns roles into code and literal blocks into code blocks."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = _plain(obj.docstring.value)
