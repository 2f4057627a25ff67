"""The display of a training: its curves, labels and errors."""

import sys
import warnings

import numpy as np
import pytest
from matplotlib import pyplot as plt
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import GaussianNB
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from sknn import NeuralClassifier, from_sklearn
from sknn.history.kinds import KIND_COLOURS
from sknn.inspection import TrainingCurveDisplay
from tests.common import ALIKE

X, y = load_iris(return_X_y=True)
SMALL = {"hidden_layer_sizes": 8, "max_iter": 12, "random_state": 0}


ENSEMBLE = SMALL | {"ensemble_size": 3, "metrics": ["accuracy"], "n_iter_no_change": 2, "learning_rate_init": 0.05}


@pytest.fixture(scope="module")
def ensemble():
    return NeuralClassifier(**ENSEMBLE, **ALIKE).fit(X, y)


@pytest.fixture(scope="module")
def mixed():
    """Return an ensemble of two members with batch norm and one with an embedding."""
    return NeuralClassifier(**ENSEMBLE).fit(X, y)


@pytest.fixture(scope="module")
def single():
    return NeuralClassifier(**SMALL, ensemble_size=1).fit(X, y)


def legend_of(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def labels_of(axes):
    return [ax.get_ylabel() for ax in axes]


def test_losses_are_drawn_by_default(single):
    display = TrainingCurveDisplay.from_estimator(single)

    train, valid = display.lines_
    np.testing.assert_array_equal(train.get_ydata(), single.loss_curve_)
    np.testing.assert_array_equal(valid.get_ydata(), [record["valid_loss"] for record in single.history_])
    np.testing.assert_array_equal(train.get_xdata(), np.arange(1, single.n_iter_ + 1))
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "loss")
    assert display.ax_.figure is display.figure_
    assert display.member_lines_ == []


def test_the_legend_names_lines_gap_and_best_epoch(single):
    display = TrainingCurveDisplay.from_estimator(single)
    best = int(np.argmin([record["valid_loss"] for record in single.history_])) + 1

    assert legend_of(display.ax_) == ["training", "validation", "gap", f"best epoch: {best}"]


def test_the_gap_lies_between_the_losses(single):
    ax = TrainingCurveDisplay.from_estimator(single).ax_
    corners = ax.collections[0].get_paths()[0].vertices

    losses = [record[name] for record in single.history_ for name in ("train_loss", "valid_loss")]
    assert set(losses) <= set(corners[:, 1])


def test_members_are_thin_lines_that_end_where_they_stopped(ensemble):
    display = TrainingCurveDisplay.from_estimator(ensemble)

    lengths = [np.isfinite(line.get_ydata()).sum() for line in display.member_lines_]
    assert lengths == 2 * ensemble.net_.epochs_  # lines of the training, then of the validation loss
    assert len(set(ensemble.net_.epochs_)) > 1
    assert max(line.get_linewidth() for line in display.member_lines_) < display.lines_[0].get_linewidth()
    assert legend_of(display.ax_)[:2] == ["training, mean of 3", "validation, mean of 3"]


def test_a_dot_marks_the_best_epoch_of_each_member(ensemble):
    display = TrainingCurveDisplay.from_estimator(ensemble)
    (dots,) = display.best_lines_

    best = [state.best_epoch for state in ensemble.net_.member_states_]
    kept = [ensemble.history_[epoch - 1]["member_valid_loss"][m] for m, epoch in enumerate(best)]
    assert dots.get_xdata().tolist() == best
    assert (
        dots.get_ydata().tolist()
        == kept
        == [min(r["member_valid_loss"][m] for r in ensemble.history_) for m in (0, 1, 2)]
    )
    assert dots.get_label() == "best epoch of each member"


@pytest.mark.parametrize("kind", ["loss", "accuracy"])
def test_members_of_different_kinds_have_different_colours(mixed, kind):
    display = TrainingCurveDisplay.from_estimator(mixed, kind=kind)

    colours, names = [KIND_COLOURS[0]] * 2 + [KIND_COLOURS[1]], [f"train_{kind}", f"valid_{kind}"]
    assert [line.get_color() for line in display.member_lines_] == colours * 2
    assert [line.get_linestyle() for line in display.member_lines_] == ["--"] * 3 + ["-"] * 3
    values = [record[f"member_{name}"][m] for name in names for m in range(3) for record in mixed.history_[:1]]
    assert [line.get_ydata()[0] for line in display.member_lines_] == values
    assert legend_of(display.ax_)[-3:] == [
        "best epoch of each member",
        "batch norm: 2 members",
        "piecewise linear: 1 member",
    ]


def test_the_dots_of_members_of_different_kinds_have_their_colours(mixed):
    display = TrainingCurveDisplay.from_estimator(mixed, members=False)

    best = [state.best_epoch for state in mixed.net_.member_states_]
    assert [dots.get_xdata().tolist() for dots in display.best_lines_] == [best[:2], best[2:]]
    assert [dots.get_color() for dots in display.best_lines_] == list(KIND_COLOURS[:2])
    assert display.member_lines_ == []
    assert len(legend_of(display.ax_)) == 6


def test_the_kinds_are_only_named_where_they_differ(mixed):
    display = TrainingCurveDisplay.from_estimator(mixed, kind=["loss", "learning_rate"])

    assert len(legend_of(display.ax_[0])) == 6
    assert display.ax_[1].get_legend() is None


def test_a_colour_for_the_training_is_that_of_all_kinds(mixed):
    display = TrainingCurveDisplay.from_estimator(mixed, line_kw={"color": "green"})

    assert {line.get_color() for line in display.ax_.lines} == {"green"}
    assert legend_of(display.ax_)[-1] == "best epoch of each member"


def test_kinds_can_be_given_with_the_records(mixed):
    display = TrainingCurveDisplay(mixed.history_, kinds=["a", "b", "a"]).plot()

    assert legend_of(display.ax_)[-2:] == ["a: 2 members", "b: 1 member"]
    best = [state.best_epoch for state in mixed.net_.member_states_]
    assert [dots.get_xdata().tolist() for dots in display.best_lines_] == [best[::2], best[1:2]]


def test_the_column_of_members_names_the_kinds(mixed):
    display = TrainingCurveDisplay(mixed.history_, kinds=mixed.members_["kind"]).plot()

    assert legend_of(display.ax_) == legend_of(TrainingCurveDisplay.from_estimator(mixed).ax_)


def test_another_number_of_kinds_than_members_is_refused(mixed):
    with pytest.raises(ValueError, match="kinds has 2 entries, but the records are of 3 members"):
        TrainingCurveDisplay(mixed.history_, kinds=["a", "b"]).plot()


def test_members_can_be_left_out(ensemble):
    assert TrainingCurveDisplay.from_estimator(ensemble, members=False).member_lines_ == []


def test_every_panel_has_separate_axes(ensemble):
    display = TrainingCurveDisplay.from_estimator(ensemble, kind="all")

    assert labels_of(display.ax_) == ["loss", "accuracy", "learning rate"]
    assert len(display.lines_) == 2 + 2 + 1
    assert list(display.figure_.axes) == list(display.ax_)
    assert display.ax_[2].get_legend() is None


def test_panels_are_drawn_on_the_callers_axes(ensemble):
    figure, axes = plt.subplots(2)
    display = TrainingCurveDisplay(ensemble.history_).plot(axes, kind=["accuracy", "seconds"])

    assert list(display.ax_) == list(axes)
    assert display.figure_ is figure
    assert plt.get_fignums() == [figure.number]
    assert display.lines_[1].get_ydata()[-1] == ensemble.history_[-1]["valid_accuracy"]
    assert labels_of(axes) == ["accuracy", "seconds"]


def test_plot_can_be_called_several_times(ensemble):
    display = TrainingCurveDisplay(ensemble.history_)
    first = display.plot().ax_

    assert display.plot(kind="accuracy").ax_ is not first
    assert len(display.lines_) == 2


def test_several_trainings_share_axes_and_have_names(single, ensemble):
    display = TrainingCurveDisplay.from_estimator(single, name="one")
    TrainingCurveDisplay.from_estimator(ensemble, ax=display.ax_, name="three", line_kw={"color": "green"})

    labels = legend_of(display.ax_)
    assert labels[:3] == ["one: training", "one: validation", "one: gap"]
    assert labels[4:] == [
        "three: training, mean of 3",
        "three: validation, mean of 3",
        "three: gap",
        "three: best epoch of each member",
    ]
    assert {line.get_color() for line in display.ax_.lines[3:]} == {"green"}


def test_lines_can_be_styled(ensemble):
    styles = {"line_kw": {"linewidth": 5}, "member_kw": {"alpha": 0.9}}
    display = TrainingCurveDisplay.from_estimator(ensemble, **styles)

    assert {line.get_linewidth() for line in display.lines_} == {5}
    assert {line.get_alpha() for line in display.member_lines_} == {0.9}


def test_epochs_with_a_diagnosis_are_shaded_and_named():
    records = [
        {"train_loss": 1 / i, "valid_loss": i, "diagnosis": "overfitting" if i > 2 else None} for i in (1, 2, 3, 4)
    ]
    ax = TrainingCurveDisplay(records).plot().ax_
    (span,) = ax.patches

    assert legend_of(ax)[-1] == "overfitting: epochs 3 to 4"
    assert (span.get_x(), span.get_x() + span.get_width()) == (2.5, 4.5)


def test_a_diagnosis_of_one_epoch_with_an_unknown_name_is_shaded():
    records = [{"train_loss": 1.0, "diagnosis": "something new"}, {"train_loss": 1.0, "diagnosis": None}]

    assert legend_of(TrainingCurveDisplay(records).plot().ax_) == ["training", "something new: epoch 1"]


def test_records_without_validation_have_neither_gap_nor_best_epoch():
    clf = NeuralClassifier(**SMALL, ensemble_size=2, early_stopping=False, **ALIKE).fit(X, y)
    display = TrainingCurveDisplay.from_estimator(clf)

    assert legend_of(display.ax_) == ["training, mean of 2"]
    assert len(display.ax_.collections) == 0
    assert display.best_lines_ == []


def test_a_history_of_lbfgs_only_has_a_loss():
    clf = NeuralClassifier(**SMALL, solver="lbfgs", ensemble_size=2)
    with warnings.catch_warnings(action="ignore"):  # twelve iterations are not enough to converge
        clf.fit(X, y)
    display = TrainingCurveDisplay.from_estimator(clf, kind="all")

    assert labels_of(display.ax_) == ["loss"]
    assert len(display.lines_[0].get_ydata()) == clf.n_iter_


def test_a_single_epoch_is_visible():
    clf = NeuralClassifier(**{**SMALL, "max_iter": 1}, ensemble_size=2).fit(X, y)
    display = TrainingCurveDisplay.from_estimator(clf)

    assert {line.get_marker() for line in [*display.lines_, *display.member_lines_]} == {"o"}
    assert display.ax_.get_xticks().tolist().count(1) == 1


def test_a_history_of_partial_fits_is_one_curve():
    clf = NeuralClassifier(**SMALL, ensemble_size=2)
    for _ in range(3):
        clf.partial_fit(X, y, classes=np.unique(y))
    display = TrainingCurveDisplay.from_estimator(clf)

    assert display.lines_[0].get_xdata().tolist() == [1, 2, 3]
    assert display.best_lines_ == []


def test_after_a_fit_and_a_partial_fit_no_best_epoch_is_marked():
    clf = NeuralClassifier(**SMALL, ensemble_size=1).fit(X, y).partial_fit(X, y)
    display = TrainingCurveDisplay.from_estimator(clf)

    assert np.isnan(display.lines_[1].get_ydata()).tolist() == [False] * (len(clf.history_) - 1) + [True]
    assert display.best_lines_ == []


def test_a_pipeline_and_a_search_show_their_estimator(single):
    pipe = make_pipeline(StandardScaler(), NeuralClassifier(**SMALL, ensemble_size=1))
    search = GridSearchCV(pipe, {"neuralclassifier__dropout": [0.0]}, cv=2).fit(X, y)
    fitted = search.best_estimator_[-1]
    display = TrainingCurveDisplay.from_estimator(search)

    np.testing.assert_array_equal(display.lines_[0].get_ydata(), fitted.loss_curve_)


@pytest.mark.parametrize(
    "estimator",
    [
        NeuralClassifier(),
        make_pipeline(StandardScaler(), NeuralClassifier()),
        GridSearchCV(NeuralClassifier(), {"dropout": [0.0]}),
    ],
)
def test_an_estimator_that_is_not_fitted_is_refused(estimator):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        TrainingCurveDisplay.from_estimator(estimator)


@pytest.mark.parametrize("estimator", [GaussianNB().fit(X, y), make_pipeline("passthrough"), "adam"])
def test_an_estimator_without_a_network_is_refused(estimator):
    with pytest.raises(TypeError, match="has no network: pass a NeuralClassifier or NeuralRegressor"):
        TrainingCurveDisplay.from_estimator(estimator)


def test_weights_without_a_training_have_no_curve():
    with warnings.catch_warnings(action="ignore"):  # five epochs are not enough to converge
        mlp = MLPClassifier((4,), max_iter=5, random_state=0).fit(X, y)

    with pytest.raises(ValueError, match="records hold no 'train_loss', they are empty"):
        TrainingCurveDisplay.from_estimator(from_sklearn(mlp))


def test_an_unknown_metric_is_refused_with_the_known_ones(ensemble):
    message = r"kind='acuracy' is not recorded; use one of 'loss', 'accuracy', .*'learning_rate'.* parameter metrics"

    with pytest.raises(ValueError, match=message):
        TrainingCurveDisplay(ensemble.history_).plot(kind="acuracy")
    assert plt.get_fignums() == []


def test_an_empty_list_of_panels_is_refused(ensemble):
    with pytest.raises(ValueError, match=r"kind=\[\] is not recorded; use one of 'loss', 'accuracy'"):
        TrainingCurveDisplay(ensemble.history_).plot(kind=[])


def test_a_wrong_number_of_axes_is_refused(ensemble):
    _, axes = plt.subplots(1, 2)

    with pytest.raises(ValueError, match=r"ax holds 2 axes for 3 panels \(loss, accuracy, learning_rate\); pass one"):
        TrainingCurveDisplay(ensemble.history_).plot(axes, kind="all")


def test_without_matplotlib_the_extra_is_named(ensemble, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(ImportError, match=r"TrainingCurveDisplay.plot needs matplotlib; .* pip install 'sknn\[plot\]'"):
        TrainingCurveDisplay(ensemble.history_).plot()


def test_arguments_of_wrong_types_are_refused(ensemble):
    with pytest.raises(TypeError, match=r"records=3 have to be a dict for each epoch, as in history_"):
        TrainingCurveDisplay(3).plot()
    with pytest.raises(TypeError, match=r"kind=3 must be a name, such as 'loss' or 'accuracy'"):
        TrainingCurveDisplay(ensemble.history_).plot(kind=3)
    with pytest.raises(TypeError, match=r"ax=3 must be axes of matplotlib"):
        TrainingCurveDisplay(ensemble.history_).plot(3)


def test_a_history_frame_and_an_iterator_are_drawn_like_records(ensemble):
    drawn = [
        TrainingCurveDisplay(records).plot().lines_[0].get_xydata().tolist()
        for records in (ensemble.history_, ensemble.history_frame(), iter(ensemble.history_))
    ]
    plt.close("all")

    assert drawn[0] == drawn[1] == drawn[2]
