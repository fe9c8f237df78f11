"""The reading of each model: parameters, indicators, units, covariates, structure."""

import dataclasses

import pytest


def test_it_is_frozen(simulators):
    spec = simulators("normal_mixture_ordered")[1].spec
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.structure = "sequence"
    for item in (spec.parameters[0], spec.indicators[0], spec.observations[0]):
        with pytest.raises(dataclasses.FrozenInstanceError):
            item.name = "other"


def test_repr_is_a_table(case, simulators):
    _, simulator = simulators(case.name)
    text, html = repr(simulator.spec), simulator.spec._repr_html_()
    items = (*simulator.spec.parameters, *simulator.spec.indicators, *simulator.spec.observations)
    for item in items:
        assert item.name in text
        assert f"<td style='text-align:left'>{item.name}</td>" in html
    assert max(map(len, text.splitlines())) <= 160
    assert html.count("<table>") == html.count("</table>") >= 2
    assert html in simulator._repr_html_()
