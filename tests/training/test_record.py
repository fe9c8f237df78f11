"""What is kept with a network, and of how often its model was asked about."""

import dataclasses
import json
import math

import pytest

from pymc_amortized.training.record import TrainingRecord, Usage
from tests.training.short_runs import fit


def test_json_holds_the_record_of_a_network():
    record = fit(cache=False, sizes={"y": (10, 50)}).record
    again = TrainingRecord.from_record(json.loads(json.dumps(record.as_record())))
    assert again == record
    assert again.sizes == {"y": (10, 50)}
    assert record.fingerprint.startswith(f"{again.family}-")


def test_records_of_0_5_0_have_no_orders():
    record = fit(cache=False).record
    older = {name: x for name, x in record.as_record().items() if name != "orders"}
    assert TrainingRecord.from_record(older) == dataclasses.replace(record, orders=())


def test_data_sets_are_counted_and_the_last_remembered():
    usage = Usage()
    for number in range(30):
        usage = usage.after(str(number), 0.5)
    assert (usage.datasets, usage.seconds) == (30, 15.0)
    assert usage.last == tuple(map(str, range(10, 30)))
    again = usage.after("12", 1.0)
    assert (again.datasets, again.seconds, again.last[-1]) == (30, 16.0, "12")
    assert usage.after("3", 1.0).datasets == 31  # long ago


def test_json_holds_usage():
    usage = Usage(3, 4.5, 1.5, ("a", "b"))
    assert Usage.from_record(json.loads(json.dumps(dataclasses.asdict(usage)))) == usage


@pytest.mark.parametrize(
    "bad",
    [{}, {"datasets": 1}, [1, 2], {"datasets": "a", "seconds": 1, "seconds_grown": 0, "last": []}],
    ids=str,
)
def test_what_is_no_usage(bad):
    with pytest.raises((KeyError, TypeError, ValueError)):
        Usage.from_record(bad)
    assert math.isclose(Usage().seconds, 0.0)
