"""Count what a reader of the package has to know of its structure, from the imports themselves.

A room is a folder, or a file, directly in the package. An arrow leads from a room to another that
some module of it imports, wherever the import stands, under ``TYPE_CHECKING`` too. A floor is a row
of rooms none of which needs another. ::

    python -m tests.layout [path of pymc_amortized]
"""

import argparse
import ast
import pathlib
import statistics
import sys

from collections import Counter
from collections.abc import Iterable, Iterator

PACKAGE = "pymc_amortized"
ROOT = pathlib.Path(__file__).parents[1] / PACKAGE


def modules(root: pathlib.Path = ROOT) -> list[pathlib.Path]:
    """Return the files of the package."""
    return sorted(root.rglob("*.py"))


def room_of(path: pathlib.Path, root: pathlib.Path = ROOT) -> str:
    """Return the room that a file is in."""
    relative = path.relative_to(root)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imports_of(path: pathlib.Path) -> Iterator[str]:
    """Yield the full name of all that a file imports, names of modules and of what is in them."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                raise ValueError(f"{path}: relative import")
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported(path: pathlib.Path, root: pathlib.Path = ROOT) -> set[str]:
    """Return the rooms, its own apart, that a file imports."""
    names = (name.split(".") for name in imports_of(path))
    found = {parts[1] for parts in names if parts[0] == PACKAGE and len(parts) > 1}
    rooms = {room_of(p, root) for p in modules(root)}
    return {part if part in rooms else "__init__" for part in found} - {room_of(path, root)}


def arrows(root: pathlib.Path = ROOT) -> dict[str, set[str]]:
    """Return the rooms that each room imports."""
    found: dict[str, set[str]] = {}
    for path in modules(root):
        found.setdefault(room_of(path, root), set()).update(rooms_imported(path, root))
    return found


def cycles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return sets of rooms, or modules, each of which needs all others of its set."""
    reached = {room: _reached(room, graph) for room in graph}
    found: list[set[str]] = []
    for room in graph:
        together = {other for other in reached[room] if room in reached[other]} | {room}
        if len(together) > 1 and together not in found:
            found.append(together)
    return found


def _reached(room: str, graph: dict[str, set[str]]) -> set[str]:
    seen, left = set(), list(graph[room])
    while left:
        other = left.pop()
        if other not in seen:
            seen.add(other)
            left += graph.get(other, ())
    return seen


def floors(graph: dict[str, set[str]]) -> list[set[str]]:
    """Return rooms by the length of the longest way down from them; those of a cycle together."""
    joined = {room: frozenset({room}) for room in graph}
    joined |= {room: frozenset(together) for together in cycles(graph) for room in together}
    height: dict[frozenset[str], int] = {}

    def measure(group: frozenset[str]) -> int:
        if group not in height:
            below = {joined[o] for room in group for o in graph[room]} - {group}
            height[group] = 1 + max((measure(other) for other in below), default=-1)
        return height[group]

    for group in joined.values():
        measure(group)
    rows = max(height.values()) + 1
    return [{room for room in graph if height[joined[room]] == i} for i in range(rows)]


def module_graph(root: pathlib.Path = ROOT) -> dict[str, set[str]]:
    """Return the modules that each module imports, packages by their ``__init__``."""
    names = {_module_name(path, root): path for path in modules(root)}
    graph = {}
    for name, path in names.items():
        found = set()
        for imported in imports_of(path):
            parent = imported.rpartition(".")[0]
            found |= {imported} if imported in names else {parent} & names.keys()
        graph[name] = found - {name}
    return graph


def _module_name(path: pathlib.Path, root: pathlib.Path) -> str:
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join([PACKAGE, *(part for part in parts if part != "__init__")])


def functions(root: pathlib.Path = ROOT) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield every function, with the place where it stands."""
    for path in modules(root):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield f"{path.relative_to(root)}:{node.lineno} {node.name}", node


def body_length(function: ast.FunctionDef) -> int:
    """Return the lines of a function's body, its docstring apart."""
    statements = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return function.end_lineno - statements[0].lineno + 1 if statements else 0


def median(lengths: Iterable[int]) -> float:
    """Return the median of lengths."""
    return statistics.median(lengths)


def num_parameters(function: ast.FunctionDef) -> int:
    """Return how many arguments a function takes, ``self`` and ``cls`` apart."""
    a = function.args
    names = [x.arg for x in (*a.posonlyargs, *a.args, *a.kwonlyargs)]
    return len([name for name in names if name not in ("self", "cls")])


def sizes(root: pathlib.Path = ROOT) -> tuple[dict[str, int], dict[str, int]]:
    """Return the lines of each module, and the modules directly in each folder."""
    lines = {str(p.relative_to(root)): len(p.read_text().splitlines()) for p in modules(root)}
    folders = Counter(
        str(p.parent.relative_to(root)) for p in modules(root) if p.name != "__init__.py"
    )
    return lines, {name: count for name, count in folders.items() if name != "."}


def base_names(root: pathlib.Path = ROOT) -> dict[str, int]:
    """Return how often each name of a file occurs."""
    return dict(Counter(p.stem for p in modules(root) if p.stem != "__init__"))


def report(root: pathlib.Path) -> str:
    """Return the counts as text."""
    graph = arrows(root)
    lines, folders = sizes(root)
    flat = [room for room in graph if (root / f"{room}.py").exists()]
    bodies = {name: body_length(f) for name, f in functions(root)}
    most = {name: num_parameters(f) for name, f in functions(root)}
    longest, widest = max(lines, key=lines.__getitem__), max(folders, key=folders.__getitem__)
    between = cycles(module_graph(root))
    twice = sorted(name for name, count in base_names(root).items() if count > 1)
    rows = {
        "rooms": f"{len(graph)} ({len(flat)} files, {len(graph) - len(flat)} folders)",
        "floors": len(floors(graph)),
        "arrows between rooms": sum(map(len, graph.values())),
        "cycles of rooms": len(cycles(graph)),
        "cycles of modules": f"{len(between)} {sorted(map(sorted, between)) if between else ''}",
        "modules, lines": f"{len(lines)}, {sum(lines.values()):,}",
        "longest module": f"{longest}, {lines[longest]} lines; over 350: "
        f"{sum(n > 350 for n in lines.values())}",
        "largest folder": f"{widest}, {folders[widest]} modules",
        "names of files that occur twice": ", ".join(twice) or "none",
        "functions": len(bodies),
        "median body": f"{median(bodies.values()):g} lines",
        "longest body": f"{max(bodies.values())} lines; over 50: "
        f"{sum(n > 50 for n in bodies.values())}",
        "more than eight parameters": sum(n > 8 for n in most.values()),
    }
    width = max(map(len, rows))
    return "\n".join(f"{name:{width}}  {value}".rstrip() for name, value in rows.items())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", nargs="?", type=pathlib.Path, default=ROOT)
    sys.stdout.write(report(parser.parse_args().root.resolve()) + "\n")
