"""Networks of a cache as a table, read from their records without their tensors."""

import html

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, overload

from pymc_amortized.errors import NetworkFileError
from pymc_amortized.model.fingerprint import names_of_parts
from pymc_amortized.training.files import read_record
from pymc_amortized.training.network_cache import CacheFile, NetworkCache

__all__ = ["CachedNetwork", "CachedNetworks", "cached_networks"]

_WIDTH = 80
_GAP = "  "
_VARIABLES = 1  # the column that is cut
_NUM_LEFT = 3  # columns of text; those after them are numbers
_KINDS = ("finished", "unfinished", "damaged")
_HEADERS = ("fingerprint", "variables", "kind", "steps", "time", "size", "trained")


@dataclass(frozen=True, slots=True)
class CachedNetwork:
    """A network in a cache, or one that is not finished.

    Attributes
    ----------
    fingerprint : str
        Of the model, the sizes and the versions; then, after a dash, of the training.
    path : Path
        Its file.
    kind : {"network", "checkpoint"}
        A checkpoint is where a training that was stopped will go on.
    size : int
        In bytes.
    trained : datetime
        When the file was written, in local time.
    variables : tuple of str
        Parameters, indicators and observed variables of the model; none where they are not known.
    steps : int or None
        Steps of training; None where that is not known.
    seconds : float or None
        That training took; None where that is not known.
    damage : str
        Why the file cannot be read; empty if it can. Its numbers are not looked at.
    """

    fingerprint: str
    path: Path
    kind: Literal["network", "checkpoint"]
    size: int
    trained: datetime
    variables: tuple[str, ...] = ()
    steps: int | None = None
    seconds: float | None = None
    damage: str = ""


class CachedNetworks(Sequence[CachedNetwork]):
    """Networks of a cache, which print as a table.

    Parameters
    ----------
    networks : iterable of CachedNetwork
        In the order of the table.
    directory : Path or None
        Where they are.
    """

    def __init__(self, networks: Iterable[CachedNetwork], directory: Path | None) -> None:
        self._networks = tuple(networks)
        self.directory = directory

    @overload
    def __getitem__(self, index: int) -> CachedNetwork: ...
    @overload
    def __getitem__(self, index: slice) -> "CachedNetworks": ...
    def __getitem__(self, index: int | slice) -> "CachedNetwork | CachedNetworks":
        if isinstance(index, slice):
            return CachedNetworks(self._networks[index], self.directory)
        return self._networks[index]

    def __len__(self) -> int:
        return len(self._networks)

    def __repr__(self) -> str:
        return "\n".join([_headline(self), *_place(self.directory), *_lines(_rows(self))])

    def _repr_html_(self) -> str:
        head = "".join(f"<th style='text-align:left'>{name}</th>" for name in _HEADERS)
        rows = "".join(
            "<tr>"
            + "".join(f"<td style='text-align:left'>{html.escape(cell)}</td>" for cell in row)
            + "</tr>"
            for row in _rows(self)
        )
        place = "" if self.directory is None else f" in {html.escape(str(self.directory))}"
        table = f"<table><tr>{head}</tr>{rows}</table>" if len(self) else ""
        return f"<p><b>{_headline(self)}</b>{place}</p>{table}"


def cached_networks(store: NetworkCache) -> CachedNetworks:
    """Return the networks of a cache, with those that are not finished; the latest first."""
    found = [_look(file) for file in store.files() if file.kind in ("network", "checkpoint")]
    there = [network for network in found if network is not None]
    return CachedNetworks(sorted(there, key=lambda x: x.trained, reverse=True), store.directory)


def _look(file: CacheFile) -> CachedNetwork | None:
    """Return what is known of a network; None if it has gone meanwhile."""
    try:
        status = file.path.stat()
    except OSError:
        return None
    written = datetime.fromtimestamp(status.st_mtime).astimezone()
    known = (file.fingerprint, file.path, file.kind, status.st_size, written)
    try:
        record = read_record(file.path)
        state = record if file.kind == "network" else record["state"]
        steps, seconds = int(state["steps" if file.kind == "network" else "step"]), state["seconds"]
        variables = names_of_parts(record.get("parts", ()))  # checkpoints of 0.5.0 have none
        return CachedNetwork(*known, variables, steps, float(seconds))
    except (OSError, NetworkFileError) as error:
        return CachedNetwork(*known, damage=str(error))
    except (TypeError, KeyError, AttributeError, ValueError, SyntaxError):
        return CachedNetwork(*known, damage="Its record is not that of a network.")


def _headline(networks: CachedNetworks) -> str:
    if not networks:
        return "CachedNetworks: none"
    counts = Counter(_kind(network) for network in networks)
    numbers = ", ".join(f"{counts[x]:,} {x}" for x in _KINDS if counts[x])
    return f"CachedNetworks: {numbers}, {_size(sum(network.size for network in networks))}"


def _place(directory: Path | None) -> list[str]:
    """Return where networks are, cut at its beginning."""
    if directory is None:
        return []
    text = str(directory)
    return [f"in {text}" if len(text) + 3 <= _WIDTH else f"in …{text[4 - _WIDTH :]}"]


def _rows(networks: CachedNetworks) -> list[tuple[str, ...]]:
    names = _short({network.fingerprint for network in networks})
    return [
        (
            names[network.fingerprint],
            ", ".join(network.variables) or "not known",
            _kind(network),
            "-" if network.steps is None else f"{network.steps:,}",
            "-" if network.seconds is None else f"{network.seconds:,.0f} s",
            _size(network.size),
            f"{network.trained:%Y-%m-%d}",
        )
        for network in networks
    ]


def _lines(rows: list[tuple[str, ...]]) -> list[str]:
    """Return rows and what they are headed by, in columns; none without rows."""
    if not rows:
        return []
    widths = [max(map(len, column)) for column in zip(_HEADERS, *rows, strict=True)]
    others = sum(widths) - widths[_VARIABLES] + len(_GAP) * (len(widths) - 1)
    widths[_VARIABLES] = min(widths[_VARIABLES], max(1, _WIDTH - others))
    return [
        _GAP.join(
            _cut(cell, width).ljust(width) if i < _NUM_LEFT else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in (_HEADERS, *rows)
    ]


def _short(fingerprints: set[str]) -> dict[str, str]:
    """Return what tells fingerprints apart: the beginnings of both their parts, equally long."""
    candidates = ({x: _beginnings(x, length) for x in fingerprints} for length in range(8, 33, 4))
    return next(short for short in candidates if len(set(short.values())) == len(short))


def _beginnings(fingerprint: str, length: int) -> str:
    family, dash, training = fingerprint.partition("-")
    return f"{family[:length]}{dash}{training[: length // 2]}"


def _kind(network: CachedNetwork) -> str:
    if network.damage:
        return "damaged"
    return "unfinished" if network.kind == "checkpoint" else "finished"


def _size(number: float) -> str:
    for unit in ("B", "kB", "MB"):
        if number < 1_000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1_000
    return f"{number:.1f} GB"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"
