"""Pictures of calibration."""

import pytest

import pymc_amortized as pma

from pymc_amortized.errors import InvalidArgumentError

pytestmark = pytest.mark.filterwarnings(
    "ignore::pymc_amortized.errors.AccuracyWarning",
    "ignore::pymc_amortized.errors.AtypicalDataWarning",
    "ignore::pymc_amortized.errors.BackendFallbackWarning",
)


PLOTS = ("sbc", "coverage", "recovery", "contraction", "reliability", "corrected")


@pytest.mark.parametrize("plot", PLOTS)
def test_plots(report, plot):
    import matplotlib.pyplot as plt

    draw = getattr(pma.diagnostics, f"plot_{plot}")
    axes = draw(report)
    titles = [ax.get_title() for ax in axes]
    assert titles == list(dict.fromkeys(titles))
    name = "y_component" if plot == "reliability" else "mu"
    _, own = plt.subplots(1, 1 if plot == "reliability" else 2, squeeze=False)
    chosen = draw(report, var_names=[name], ax=own[0])
    assert chosen[0] is own[0, 0]
    assert chosen[0].get_xlabel()
    with pytest.raises(InvalidArgumentError, match="list of names among"):
        draw(report, var_names=["nu"])
    if plot != "reliability":
        with pytest.raises(InvalidArgumentError, match="Expected 2 axes"):
            draw(report, var_names=["mu"], ax=own[0, 0])
    plt.close("all")


def test_plots_of_the_training_and_of_the_data(trained):
    import matplotlib.pyplot as plt

    _, posterior = trained("mixture")
    assert len(pma.diagnostics.plot_history(posterior)) == 2
    [ax] = pma.diagnostics.plot_distance(posterior)
    assert ax.get_legend() is not None
    plt.close("all")
