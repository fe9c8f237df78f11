"""The table of layers in docs/design.md, held against every import."""

import pathlib
import re
import sys

import pytest

from tests import layout

DESIGN = pathlib.Path(__file__).parents[1] / "docs" / "design.md"
EVERYWHERE = {"numpy", "torch"}
HOMES = {
    "filelock": {"network_cache.py"},
    "matplotlib": {"plots.py", "network_plots.py"},
    "normflows": {"spline_flow.py"},
    "nutpie": {"nuts_samplers.py"},
    "platformdirs": {"network_cache.py"},
    "rich": {"progress.py"},
    "safetensors": {"files.py"},
    "sklearn": {"two_sample.py"},
}
MODULES = layout.modules()
TESTS = pathlib.Path(__file__).parent


def read_table(text):
    """Return rows of rooms, and of third-party packages."""
    rows = re.findall(r"^\| (\d+) \| (.*?) \| .*? \| (.*?) ?\|$", text, flags=re.MULTILINE)
    assert [int(number) for number, *_ in rows] == list(range(len(rows)))
    rooms = [re.findall(r"`(\w+)/?`", names) for _, names, _ in rows]
    packages = [set(re.findall(r"\w+", names)) for *_, names in rows]
    return rooms, packages


ROOMS, PACKAGES = read_table(DESIGN.read_text())
RANK = {room: row for row, rooms in enumerate(ROOMS) for room in rooms}


def violations(path, root=layout.ROOT):
    """Return what a file imports of its own row, or of rows below."""
    rank = RANK[layout.room_of(path, root)]
    return {room for room in layout.rooms_imported(path, root) if RANK[room] >= rank}


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(layout.ROOT)))
def test_imports_come_from_rows_above(path):
    assert not violations(path)
    tops = {name.split(".")[0] for name in layout.imports_of(path)} - {layout.PACKAGE}
    allowed = EVERYWHERE | PACKAGES[RANK[layout.room_of(path)]] | sys.stdlib_module_names
    assert not tops - allowed


def test_every_room_is_in_the_table():
    assert {layout.room_of(path) for path in MODULES} == set(RANK)
    assert sum(map(len, ROOMS)) == len(RANK)


def test_no_package_is_allowed_where_nothing_uses_it():
    used = [set() for _ in ROOMS]
    for path in MODULES:
        tops = {name.split(".")[0] for name in layout.imports_of(path)}
        used[RANK[layout.room_of(path)]] |= tops
    assert [sorted(allowed - here) for allowed, here in zip(PACKAGES, used, strict=True)] == [
        [] for _ in ROOMS
    ]


def test_there_are_no_cycles():
    assert layout.cycles(layout.arrows()) == []
    assert layout.cycles(layout.module_graph()) == []


def test_the_house_keeps_its_size():
    lines, folders = layout.sizes()
    assert len(RANK) <= 26
    assert {name: n for name, n in folders.items() if n > 10} == {}
    assert {name: n for name, n in lines.items() if n > 350} == {}
    assert {name: n for name, n in layout.base_names().items() if n > 1} == {}


def test_every_module_has_tests_of_its_name():
    """Those of more than 100 lines, in the folder of the same name."""
    missing = []
    for path in MODULES:
        room = path.relative_to(layout.ROOT).parts[0]
        folder = TESTS / room if (layout.ROOT / room).is_dir() else TESTS
        is_long = len(path.read_text().splitlines()) > 100 and path.name != "__init__.py"
        if is_long and not (folder / f"test_{path.name}").exists():
            missing.append(str(path.relative_to(layout.ROOT)))
    assert missing == []


def test_functions_stay_small():
    bodies = {name: layout.body_length(f) for name, f in layout.functions()}
    assert {name: n for name, n in bodies.items() if n > 50} == {}
    assert layout.median(bodies.values()) <= 5


def test_one_module_alone_knows_the_generations():
    for path in MODULES:
        if path.name != "compat.py":
            text = path.read_text()
            assert "__version__." not in text
            assert "import_module" not in text, path


def test_some_libraries_have_one_home():
    for path in MODULES:
        for name in layout.imports_of(path):
            home = HOMES.get(name.split(".")[0])
            assert home is None or path.name in home, f"{path} imports {name}"


@pytest.mark.parametrize(
    "line",
    [
        "from pymc_amortized.{room} import thing",
        "def f():\n    import pymc_amortized.{room}.thing",
        "if TYPE_CHECKING:\n    from pymc_amortized.{room}.thing import Thing",
        "from pymc_amortized import {room}",
    ],
)
def test_an_arrow_upwards_is_seen(tmp_path, line):
    for room in ("importance", "inference"):
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").touch()
    path = tmp_path / "importance" / "module.py"
    path.write_text(line.format(room="inference"))
    assert violations(path, tmp_path) == {"inference"}
    path.write_text(line.format(room="importance"))
    assert violations(path, tmp_path) == set()


def test_a_cycle_is_seen():
    graph = {"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}
    assert layout.cycles(graph) == [{"b", "c"}]
    assert layout.floors(graph) == [{"b", "c"}, {"a"}, {"d"}]
