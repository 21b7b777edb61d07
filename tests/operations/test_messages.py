"""``docs/operations.md`` says what to do about each message of the commands, and has no others."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.trading_bot import ROOT

FILES = [*sorted((ROOT / "trading_bot_schema").rglob("*.py")), ROOT / "alembic" / "env.py"]
CALLS = {"CommandError", "DatabaseURLError", "EmbeddedError", "log.info", "log.warning"}
# Of Alembic and of PostgreSQL.
FOREIGN = (
    "Can't locate revision identified by",
    "canceling statement due to lock timeout. Blocked by",
)


def template(node: ast.AST) -> str:
    """Return the text of a string, with an ellipsis for each value."""
    if isinstance(node, ast.JoinedStr):
        return "".join(map(template, node.values))
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return re.sub(r"%[sg]|%\.\df", "…", node.value)
    return "…"


def texts(tree: ast.Module) -> Iterator[str]:
    """Yield the strings of exceptions, of log records, and of what both consist of."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in CALLS and node.args:
            yield template(node.args[0])
        elif isinstance(node, ast.Return) or (
            isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
        ):
            yield template(node.value or node)
        elif isinstance(node, ast.Dict):
            yield from map(template, node.values)


def is_message(text: str) -> bool:
    """Return whether a string is a sentence or a good part of one, and no SQL."""
    return len(text) > 30 and text[-1] in ".…" and not re.search(r"\n|^SELECT|: None", text)


MODULES = {str(path): ast.parse(path.read_text()) for path in FILES}
MESSAGES = {
    text: name for name, tree in MODULES.items() for text in texts(tree) if is_message(text)
}
STRINGS = [template(node) for tree in MODULES.values() for node in ast.walk(tree)]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
ROWS = PAGE.partition("\n## Messages\n")[2].partition("\n## ")[0]
SPANS = [
    span
    for row in re.findall(r"^\| (.*?) \|", ROWS, re.MULTILINE)
    for span in re.findall(r"`(.+?)`", row)
]
PARTS = [part.strip() for span in SPANS for part in span.split("...") if len(part) > 10]


@pytest.mark.parametrize("message", MESSAGES)
def test_each_message_is_documented(message: str) -> None:
    assert any(part in message for part in PARTS), (
        f"add a part of it to docs/operations.md, Messages, with what to do: {message!r}"
        f" ({MESSAGES[message]})"
    )


@pytest.mark.parametrize("part", [part for part in PARTS if part not in FOREIGN])
def test_each_documented_message_exists(part: str) -> None:
    assert any(part in text for text in STRINGS), "no command says that"
