"""Files: tensors as safetensors with a JSON record, written at once or not at all."""

import hashlib
import json
import os
import tempfile

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from pymc_amortized.errors import NetworkFileError

__all__ = ["FORMAT_VERSION", "read_file", "read_record", "write_file"]

FORMAT_VERSION = 1
_FORMAT = "pymc_amortized"


def write_file(path: str | os.PathLike, tensors: Mapping[str, Tensor], record: Any) -> None:
    """Write tensors and a record to one file, which appears whole or not at all.

    Parameters
    ----------
    path : str or PathLike
        Where to. An existing file is replaced.
    tensors : mapping of str to Tensor
        On any device.
    record : object
        Anything that JSON can hold.

    Raises
    ------
    OSError
        If the file cannot be written.
    """
    path = Path(path)
    contiguous = {name: x.detach().cpu().contiguous().clone() for name, x in tensors.items()}
    metadata = {
        "format": _FORMAT,
        "format_version": str(FORMAT_VERSION),
        "record": json.dumps(record),
        "checksum": _checksum(contiguous),
    }
    content = save(contiguous, metadata=metadata)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def read_file(path: str | os.PathLike) -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`write_file` has written.

    Parameters
    ----------
    path : str or PathLike
        The file.

    Returns
    -------
    tensors : dict of str to Tensor
        On the processor.
    record : object
        As it was written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    NetworkFileError
        If the file is damaged, of another kind, or written by a newer version.
    """
    path, metadata, tensors = _read(path, with_tensors=True)
    if _checksum(tensors) != metadata.get("checksum"):
        raise _damage_error(path, "its numbers have changed since it was written")
    return tensors, _record_in(path, metadata)


def read_record(path: str | os.PathLike) -> Any:
    """Read the record of a file that :func:`write_file` has written, and none of its tensors.

    Parameters
    ----------
    path : str or PathLike
        The file.

    Returns
    -------
    record : object
        As it was written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    NetworkFileError
        If the file is cut off, of another kind, or written by a newer version.

    Notes
    -----
    The checksum covers the tensors: a file whose numbers have changed is found out by
    :func:`read_file` alone.
    """
    path, metadata, _ = _read(path, with_tensors=False)
    return _record_in(path, metadata)


def _read(
    path: str | os.PathLike, with_tensors: bool
) -> tuple[Path, dict[str, str], dict[str, Tensor]]:
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"Expected a trained network at {str(path)!r}; there is no file.")
    try:
        with safe_open(str(path), framework="pt") as file:
            metadata = file.metadata() or {}
            _check_format(path, metadata)
            names = file.keys() if with_tensors else ()
            return path, metadata, {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, RuntimeError, UnicodeDecodeError) as error:
        raise _damage_error(path, str(error)) from error


def _record_in(path: Path, metadata: Mapping[str, str]) -> Any:
    try:
        return json.loads(metadata["record"])
    except (KeyError, json.JSONDecodeError) as error:
        raise _damage_error(path, "its record cannot be read") from error


def _check_format(path: Path, metadata: Mapping[str, str]) -> None:
    if metadata.get("format") != _FORMAT:
        raise NetworkFileError(
            f"Expected a file of pymc_amortized; {str(path)!r} is something else. Write one:\n\n"
            "    posterior.save(path)",
            str(path),
        )
    written = metadata.get("format_version", "0")
    if not written.isdecimal():
        raise _damage_error(path, f"its version is {written!r}")
    version = int(written)
    if version > FORMAT_VERSION:
        raise NetworkFileError(
            f"Expected a file of format {FORMAT_VERSION} or older; {str(path)!r} has format "
            f"{version}, of a newer version of the package. Upgrade it:\n\n"
            "    pip install --upgrade pymc_amortized",
            str(path),
        )


def _damage_error(path: Path, reason: str) -> NetworkFileError:
    return NetworkFileError(
        f"Expected a whole file; {str(path)!r} is damaged ({reason}). Train again:\n\n"
        "    posterior = pma.fit(model)",
        str(path),
    )


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash over names, types, shapes and bytes."""
    total = hashlib.blake2b(digest_size=16)
    for name in sorted(tensors):
        x = tensors[name].contiguous()
        total.update(f"{name} {x.dtype} {tuple(x.shape)}".encode())
        total.update(x.reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()
