"""moc's source as its architecture sees it: modules, imports, calls, sizes."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parents[1]

STAGES = (
    "errors",
    "lines",
    "memory",
    "parts",
    "data",
    "attacks",
    "networks",
    "statistics",
    "privacy",
    "evidence",
    "discrepancies",
    "condense",
    "methods",
    "evaluate",
    "objectives",
    "search",
    "study",
    "audit",
    "views",
    "policy",
    "export",
    "streams",
    "commands",
    "cli",
    "testing",
)


@dataclass(frozen=True)
class Module:
    """One file of moc, such as `data.real`; the package itself is the empty name."""

    path: Path
    name: str
    source: str

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.source)

    @property
    def stage(self) -> str:
        return self.name.split(".")[0]

    @cached_property
    def imports(self) -> list[tuple[str, str, int]]:
        """(module, name, line) of every import, wherever it stands; the name may be empty."""
        found = []
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                found += [(alias.name, "", node.lineno) for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.at(node.lineno)}: write the whole module name"
                found += [(node.module or "", alias.name, node.lineno) for alias in node.names]
        return found

    @cached_property
    def functions(self) -> list[tuple[str, int]]:
        """(place and name, lines without the docstring) of every function."""
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(self.tree) if isinstance(node, kinds)]
        return [(f"{self.at(node.lineno)} {node.name}", _lines(node)) for node in nodes]

    def at(self, line: int) -> str:
        """Where a line is, for a message."""
        return f"{self.path.relative_to(ROOT)}:{line}"


def modules() -> list[Module]:
    """All of moc."""
    found = []
    for path in sorted((ROOT / "moc").rglob("*.py")):
        parts = path.relative_to(ROOT / "moc").with_suffix("").parts
        name = ".".join(part for part in parts if part != "__init__")
        found.append(Module(path=path, name=name, source=path.read_text(encoding="utf-8")))
    return found


def _lines(node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    assert node.end_lineno is not None
    first = min([node.lineno, *(d.lineno for d in node.decorator_list)])
    lines = node.end_lineno - first + 1
    if ast.get_docstring(node, clean=False) is not None:
        doc = node.body[0]
        assert doc.end_lineno is not None
        lines -= doc.end_lineno - doc.lineno + 1
    return lines
