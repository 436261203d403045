"""`python -m tests.clients.table`: client x feature for docs/compatibility.md, read from the tests and not from memory.

A cell is "yes" where a test bears the mark `feature` with the column's name (for Node: calls `check` with it).
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

FEATURES = (
    *("chat", "stream", "tools", "schema", "count", "responses", "embeddings"),
    *("audio", "images", "models", "errors", "key", "retries"),
)
HERE = Path(__file__).parent
PYTHON = {
    "openai 3, Python": HERE / "test_openai_python.py",
    "openai 1, 2 and 3, Python, without async": HERE / "sdks" / "check_openai.py",
    "openai 1, 2 and 3, Python, Azure's way": HERE / "sdks" / "check_azure.py",
    "anthropic, Python": HERE / "sdks" / "check_anthropic.py",
    "langchain-openai": HERE / "sdks" / "check_langchain_openai.py",
    "litellm, as a client": HERE / "sdks" / "check_litellm.py",
}
NODE = {"openai": "openai, Node", "vercel": "ai (Vercel), openai-compatible"}
_NODE_CHECK = re.compile(r'check\("(\w+)", "(\w+)"')


def features_of_python(source: str) -> set[str]:
    """What the marks of a file's tests say."""
    tests = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    marks = [mark for test in tests for mark in test.decorator_list if isinstance(mark, ast.Call)]
    named = [mark.args for mark in marks if ast.unparse(mark.func) == "pytest.mark.feature"]
    return {ast.literal_eval(name) for names in named for name in names}


def features_of_node(source: str, client: str) -> set[str]:
    """What the calls of `check` say."""
    return {feature for name, feature in _NODE_CHECK.findall(source) if name == client}


def clients() -> dict[str, set[str]]:
    """Each client's features."""
    node = (HERE / "sdks" / "check_node.mjs").read_text()
    python = {client: features_of_python(path.read_text()) for client, path in PYTHON.items()}
    return python | {title: features_of_node(node, client) for client, title in NODE.items()}


def table() -> str:
    """In Markdown."""
    lines = [("client", *FEATURES), ("---",) * (len(FEATURES) + 1)]
    for client, features in clients().items():
        lines.append((client, *("yes" if feature in features else "-" for feature in FEATURES)))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines).replace(" --- ", "---")


if __name__ == "__main__":
    sys.stdout.write(table())
