"""The table of what a cache holds."""

import os

from pymc_amortized.training import files
from pymc_amortized.training.cached_networks import cached_networks
from pymc_amortized.training.network_cache import network_cache
from tests.training.short_runs import written

A, B = "a" * 32 + "-11112222", "b" * 32 + "-11112222"
NEAR = "a" * 31 + "c-11112222"
PARTS = ("parameter 'mu'", "indicator 'z'", 'observation "y\'s"', "data 'x'", "potential 'p'")


def table(directory):
    return cached_networks(network_cache(directory))


def test_what_is_known_of_a_network(monkeypatch, tmp_path):
    path = written(tmp_path, A, parts=PARTS)
    monkeypatch.setattr(files, "_checksum", None)  # no tensor is looked at
    [network] = table(tmp_path)
    assert (network.fingerprint, network.path, network.kind) == (A, path, "network")
    assert network.variables == ("mu", "z", "y's")
    assert (network.steps, network.seconds, network.damage) == (7, 2.0, "")
    assert network.size == path.stat().st_size
    assert abs(network.trained.timestamp() - path.stat().st_mtime) < 1e-3
    assert network.trained.tzinfo is not None


def test_what_is_known_of_a_checkpoint(tmp_path):
    written(tmp_path, A, "checkpoint", steps=30)
    [network] = table(tmp_path)
    assert (network.kind, network.steps, network.seconds) == ("checkpoint", 30, 2.0)
    assert network.variables == ("mu",)
    # As 0.5.0 wrote them: without the parts of the model.
    content = {"seed": 1, "state": {"step": 4, "seconds": 1.0}}
    files.write_file(network.path, {}, content)
    [network] = table(tmp_path)
    assert (network.steps, network.variables, network.damage) == (4, (), "")


def test_what_cannot_be_read_is_listed(tmp_path):
    (tmp_path / f"{A}.network").write_bytes(b"nonsense")
    (tmp_path / f"{A}.checkpoint").write_bytes(b"")
    cut = written(tmp_path, B)
    cut.write_bytes(cut.read_bytes()[:-2])
    for fingerprint, record in (("c" * 32, [1]), ("d" * 32, {"steps": 1}), ("e" * 32, None)):
        files.write_file(tmp_path / f"{fingerprint}.network", {}, record)
    written(tmp_path, "f" * 32, parts=("parameter mu",))
    newer = written(tmp_path, NEAR)
    content = newer.read_bytes()
    newer.write_bytes(content.replace(b'"format_version":"1"', b'"format_version":"9"'))
    found = table(tmp_path)
    assert len(found) == 8
    assert all(x.damage and x.steps is None and x.seconds is None for x in found)
    assert "newer version" in next(x.damage for x in found if x.path == newer)
    assert "8 damaged" in repr(found)


def test_others_files_are_left_out(tmp_path):
    for name in ("uv.lock", "mine.network", "notes.txt", f"{A}.network.bak", f".{A}.network.x"):
        (tmp_path / name).write_bytes(b"0")
    for kind in ("lock", "answers"):
        (tmp_path / f"{A}.{kind}").write_bytes(b"0")
    (tmp_path / f"{B}.network").mkdir()
    assert len(table(tmp_path)) == 0
    assert len(table(tmp_path / "nowhere")) == len(table(False)) == 0


def test_a_file_that_goes_meanwhile_is_left_out(monkeypatch, tmp_path):
    store = network_cache(tmp_path)
    path = written(tmp_path, A)
    found = store.files()
    path.unlink()
    monkeypatch.setattr(store, "files", lambda: found)
    assert len(cached_networks(store)) == 0


def test_the_latest_is_first_and_slices_are_tables(tmp_path):
    for age, fingerprint in enumerate((A, NEAR, B)):
        os.utime(written(tmp_path, fingerprint), (1e9 - age, 1e9 - age))
    found = table(tmp_path)
    assert [x.fingerprint for x in found] == [A, NEAR, B]
    assert [x.fingerprint for x in found[1:]] == [NEAR, B]
    assert found[1:].directory == tmp_path
    assert found[-1] in found


def test_the_table_in_full(tmp_path):
    os.utime(written(tmp_path, A, steps=7_000, parts=PARTS), (1e9, 1e9))
    os.utime(written(tmp_path, B, "checkpoint"), (2e9, 2e9))
    found = table(tmp_path)
    head, place, *lines = repr(found).splitlines()
    sizes = [f"{x.size} B" for x in found]
    days = [f"{x.trained:%Y-%m-%d}" for x in found]
    assert head == f"CachedNetworks: 1 finished, 1 unfinished, {sum(x.size for x in found)} B"
    assert place.startswith("in ")
    assert place.endswith(str(tmp_path)[-20:])
    assert lines == [
        "fingerprint    variables   kind        steps  time   size     trained",
        f"bbbbbbbb-1111  mu          unfinished      7   2 s  {sizes[0]}  {days[0]}",
        f"aaaaaaaa-1111  mu, z, y's  finished    7,000   2 s  {sizes[1]}  {days[1]}",
    ]
    assert repr(table(False)) == "CachedNetworks: none"


def test_the_table_fits_eighty_columns(tmp_path):
    deep = tmp_path.joinpath(*["a long name of a directory"] * 4)
    deep.mkdir(parents=True)
    many = [f"parameter 'a_long_name_{i}'" for i in range(20)]
    written(deep, A, steps=1_000_000, parts=many)
    written(deep, B, "checkpoint", parts=many)
    lines = repr(table(deep)).splitlines()
    assert max(map(len, lines)) == 80
    assert lines[1].startswith("in …")
    assert "a_lon" in lines[3]
    assert "…" in lines[3]


def test_fingerprints_are_told_apart(tmp_path):
    for fingerprint in (A, NEAR, "a" * 32 + "-11113333"):
        written(tmp_path, fingerprint)
    names = {line.split()[0] for line in repr(table(tmp_path)).splitlines()[3:]}
    assert names == {"a" * 32 + "-11112222", "a" * 32 + "-11113333", "a" * 31 + "c-11112222"}


def test_the_same_as_html(tmp_path):
    written(tmp_path, A, parts=("parameter '<b>'",))
    text = table(tmp_path)._repr_html_()
    assert "&lt;b&gt;" in text
    assert "<b>'" not in text
    assert "<th style='text-align:left'>fingerprint</th>" in text
    assert "1 finished" in text
    assert "<table>" not in table(False)._repr_html_()
