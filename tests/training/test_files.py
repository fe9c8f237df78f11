"""Networks in files, whole and damaged."""

import numpy as np
import pytest
import safetensors.torch
import torch

import pymc_amortized as pma

from pymc_amortized.errors import (
    NetworkFileError,
)
from pymc_amortized.training import files
from tests.answered import sample
from tests.trained import data, explicit, mixture, normal_mean

pytestmark = [
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AccuracyWarning"),
    pytest.mark.filterwarnings("ignore::pymc_amortized.errors.AtypicalDataWarning"),
]


def test_files(trained, tmp_path):
    model, posterior = trained("mixture")
    path = tmp_path / "mixture.amortized"
    posterior.save(path)
    assert not list(tmp_path.glob(".*"))
    again = pma.load(path, model)
    before, after = sample(posterior, draws=50), sample(again, draws=50)
    for name in before.posterior.data_vars:
        assert np.array_equal(before.posterior[name], after.posterior[name])
    assert again.record == posterior.record
    assert repr(again) == repr(posterior)
    # The observed values do not matter, their number does.
    pma.load(path, mixture(data(seed=9)))
    for other, words in (
        (mixture(data(30)), "observation 'y' differs"),
        (mixture(data(), num_components=3), "parameter 'mu' differs"),
        (normal_mean(data()), "parameter 'w' is gone"),
        (explicit(data()), "parameter 'slope' is new"),
    ):
        with pytest.raises(NetworkFileError, match=words) as caught:
            pma.load(path, other)
        assert caught.value.differences


def test_damaged_files(trained, tmp_path):
    model, posterior = trained("normal_mean")
    path = tmp_path / "net"
    posterior.save(path)
    content = path.read_bytes()
    cases = {
        "truncated": content[: len(content) // 2],
        "a changed number": content[:-20] + b"\x11" * 20,
        "empty": b"",
        "something else": b"hello" * 100,
        "newer": content.replace(b'"format_version":"1"', b'"format_version":"9"'),
    }
    for name, changed in cases.items():
        assert changed != content
        path.write_bytes(changed)
        with pytest.raises(NetworkFileError, match="Expected"):
            pma.load(path, model)
        assert name
    with pytest.raises(FileNotFoundError):
        pma.load(tmp_path / "nothing", model)


def test_a_record_is_read_without_tensors(monkeypatch, tmp_path):
    path = tmp_path / "net"
    files.write_file(path, {"weight": torch.ones(4)}, {"steps": 3})
    content = path.read_bytes()
    monkeypatch.setattr(files, "_checksum", None)
    assert files.read_record(path) == {"steps": 3}
    # A number that has changed is seen by who reads the numbers, and by nobody else.
    path.write_bytes(content[:-1] + b"\x11")
    assert files.read_record(path) == {"steps": 3}
    monkeypatch.undo()
    with pytest.raises(NetworkFileError, match="numbers have changed"):
        files.read_file(path)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ({}, "something else"),
        ({"format": "pymc_amortized", "format_version": "9"}, "of a newer version"),
        ({"format": "pymc_amortized", "format_version": "x"}, "its version is 'x'"),
        ({"format": "pymc_amortized"}, "record cannot be read"),
        ({"format": "pymc_amortized", "record": "{"}, "record cannot be read"),
    ],
    ids=str,
)
def test_records_that_cannot_be_read(tmp_path, metadata, words):
    path = tmp_path / "net"
    path.write_bytes(safetensors.torch.save({"weight": torch.ones(4)}, metadata=metadata))
    with pytest.raises(NetworkFileError, match=words):
        files.read_record(path)


def test_files_without_a_record(tmp_path):
    path = tmp_path / "net"
    with pytest.raises(FileNotFoundError):
        files.read_record(path)
    files.write_file(path, {"weight": torch.ones(4)}, {"steps": 3})
    for content in (b"", b"hello" * 100, path.read_bytes()[:-2]):
        path.write_bytes(content)
        with pytest.raises(NetworkFileError, match="damaged"):
            files.read_record(path)
