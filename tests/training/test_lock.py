"""Processes and threads that ask for one network at the same time: one of them trains."""

import dataclasses
import errno
import logging
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import textwrap
import threading

import pytest

from pymc_amortized.fitting import train_posterior
from pymc_amortized.training import loop, network_cache
from pymc_amortized.training.network_cache import NetworkCache
from tests.training.short_runs import QUICK, fit, held, same, written


class When(logging.Handler):
    """Do something when the log says that another process is waited for."""

    def __init__(self, action):
        super().__init__()
        self.action, self.texts = action, []

    def emit(self, record):
        if "Another process" in record.getMessage():
            self.texts.append(record.getMessage())
            self.action()

    def __enter__(self):
        logging.getLogger("pymc_amortized").addHandler(self)
        return self

    def __exit__(self, *_):
        logging.getLogger("pymc_amortized").removeHandler(self)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A network, and its file."""
    place = tmp_path_factory.mktemp("trained")
    posterior = fit(cache=place)
    [path] = place.iterdir()
    return posterior, path


def test_who_waits_finds_the_network(monkeypatch, tmp_path, trained):
    """It looks again once it has the lock, and says in one line whom it waits for."""
    first, path = trained
    monkeypatch.setattr(train_posterior, "train", None)
    with held(tmp_path, first.record.fingerprint) as done:

        def finish():
            shutil.copy(path, tmp_path)
            done.set()

        with When(finish) as handler:
            second = fit(cache=tmp_path, random_seed=2)
    assert second.record == first.record
    [text] = handler.texts
    assert str(tmp_path / f"{first.record.fingerprint}.lock") in text
    assert "cache=False" in text
    assert "\n" not in text


def test_a_network_that_comes_between_the_look_and_the_lock(monkeypatch, tmp_path, trained):
    first, path = trained
    monkeypatch.setattr(train_posterior, "train", None)
    original = NetworkCache.lock

    def lock(store, fingerprint):
        shutil.copy(path, tmp_path)
        return original(store, fingerprint)

    monkeypatch.setattr(NetworkCache, "lock", lock)
    assert fit(cache=tmp_path, random_seed=2).record == first.record


def test_who_waits_can_be_interrupted(tmp_path, trained):
    fingerprint = trained[0].record.fingerprint
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timers = []

    def press():
        timers.append(threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)))
        timers[0].start()

    try:
        with (
            held(tmp_path, fingerprint),
            When(press),
            pytest.raises(KeyboardInterrupt),
        ):
            fit(cache=tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]


def test_other_networks_are_not_waited_for(tmp_path, trained):
    """Such as one of the same model, trained otherwise."""
    posterior, _ = trained
    with held(tmp_path, posterior.record.fingerprint) as done, When(done.set) as handler:
        other = fit(cache=tmp_path, training=dataclasses.replace(QUICK, steps=20))
        assert not done.is_set()
    assert handler.texts == []
    assert other.record.steps == 20


def test_nothing_is_locked_where_nothing_is_trained_or_kept(monkeypatch, trained):
    posterior, path = trained
    monkeypatch.setattr(network_cache, "FileLock", None)
    assert fit(cache=path.parent).record == posterior.record
    fit(cache=path.parent, training="none")
    fit(cache=False, training=dataclasses.replace(QUICK, steps=20))


@pytest.mark.parametrize("error", [OSError(errno.ENOLCK, "No locks"), NotImplementedError()])
def test_where_nothing_can_be_locked(monkeypatch, tmp_path, error):
    class Broken:
        def __init__(self, path):
            pass

        def acquire(self, **_):
            raise error

    monkeypatch.setattr(network_cache, "FileLock", Broken)
    assert fit(cache=tmp_path).record.steps == 60
    assert [path.suffix for path in tmp_path.iterdir()] == [".network"]


def test_the_file_of_a_lock_stays_while_there_is_no_network(tmp_path):
    store = NetworkCache(tmp_path)
    fingerprint = "0" * 32
    with store.lock(fingerprint):
        pass
    assert [path.suffix for path in tmp_path.iterdir()] == [".lock"]
    written(tmp_path, fingerprint)
    with pytest.raises(KeyboardInterrupt), store.lock(fingerprint):
        raise KeyboardInterrupt
    assert (tmp_path / f"{fingerprint}.lock").exists()
    with store.lock(fingerprint):
        pass
    assert [path.suffix for path in tmp_path.iterdir()] == [".network"]
    assert [file.kind for file in store.files()] == ["network"]


@pytest.fixture(scope="module")
def tell():
    """Another process, which runs the code that it is told; killed in the last test."""
    begin = """
        import pathlib, sys, time, warnings
        warnings.simplefilter("ignore")
        import torch
        torch.set_num_threads(1)
        from pymc_amortized.training import loop
        from tests.training.short_runs import fit
        original = loop._advance
        for line in sys.stdin:
            exec(eval(line))
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(begin)],
        cwd=pathlib.Path(__file__).parents[2],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )

    def tell(code):
        process.stdin.write(repr(textwrap.dedent(code)) + "\n")
        process.stdin.flush()
        return process

    yield tell
    process.kill()
    process.communicate()


@pytest.fixture
def steps(monkeypatch):
    """The steps that this process takes."""
    taken, original = [], loop._advance

    def advance(run, finite):
        original(run, finite)
        taken.append(run.state.step)

    monkeypatch.setattr(loop, "_advance", advance)
    return taken


def test_one_of_two_processes_trains(tmp_path, tell, steps):
    """The other goes on once this one waits, which then trains nothing."""
    waits = tmp_path / "waits"
    process = tell(f"""
        waits, steps = pathlib.Path({str(waits)!r}), []

        def advance(run, finite):
            original(run, finite)
            steps.append(run.state.step)
            if steps == [1]:
                print("begun", flush=True)
            deadline = time.time() + 60
            while not waits.exists() and time.time() < deadline:
                time.sleep(0.05)

        loop._advance = advance
        posterior = fit(cache=waits.parent / "cache")
        total = sum(float(x.double().sum()) for x in posterior.tensors().values())
        print(len(steps), posterior.record.seconds, total, flush=True)
    """)
    assert process.stdout.readline() == "begun\n"
    with When(waits.touch) as handler:
        posterior = fit(cache=tmp_path / "cache", random_seed=2)
    total = sum(float(x.double().sum()) for x in posterior.tensors().values())
    assert process.stdout.readline() == f"60 {posterior.record.seconds} {total}\n"
    assert len(handler.texts) == 1
    assert steps == []
    kinds = {file.kind for file in NetworkCache(tmp_path / "cache").files()}
    assert "network" in kinds
    assert kinds <= {"network", "lock"}


def test_after_a_process_was_killed_the_next_goes_on(tmp_path, tell, steps, trained):
    """Which waits for it at first: the lock of a process ends with it."""
    process = tell(f"""
        loop._SECONDS_BETWEEN_CHECKPOINTS = 0

        def advance(run, finite):
            original(run, finite)
            if run.state.step == 31:
                print("30 steps are kept", flush=True)
                time.sleep(60)

        loop._advance = advance
        fit(cache={str(tmp_path)!r})
    """)
    assert process.stdout.readline() == "30 steps are kept\n"
    with When(process.kill) as handler:
        posterior = fit(cache=tmp_path, random_seed=2)
    assert process.wait() == -signal.SIGKILL
    assert len(handler.texts) == 1
    assert steps == list(range(31, 61))
    whole, _ = trained
    assert same(posterior.tensors(), whole.tensors())
    assert [path.suffix for path in tmp_path.iterdir()] == [".network"]
