"""What befalls a kept folder from outside: nothing found is lost in silence, nothing else is touched."""

import os
import shutil

import numpy
import pytest

from hypernudge import Categorical, ModuleTask, Real, SearchSpace, Study, tune
from hypernudge.errors import InvalidArgumentError
from hypernudge.results.files import replacing
from hypernudge.study.store import BEST, FILE, LOCK, TRIALS
from tests.conftest import Bowl
from tests.study.tools import SPACE, TRAIN, VALID, asha, data, loss, model, module, plain

RATES = SearchSpace([Real("lr", 1e-3, 1.0, log=True)])


def after(number, act):
    """Return a callback that acts once, at a report."""
    left = [number]

    def callback(study, report):
        left[0] -= 1
        if left[0] == 0:
            act(study)

    return callback


def stopped(number):
    return [after(number, lambda study: study.stop())]


@pytest.mark.parametrize("engine", ["serial", "population"])
def test_a_disk_that_is_full_fails_no_trial(engine, tmp_path, monkeypatch):
    options = {"seed": 1, "workers": 2, "engine": engine}
    whole = tune(module(), asha(SPACE), **options)
    for number in (1, 5):

        def full(path, left=[number], **given):  # noqa: B006
            left[0] -= 1
            if left[0] < 0:
                raise OSError(28, "No space left on device", str(path))
            return replacing(path, **given)

        with monkeypatch.context() as patch:
            patch.setattr("hypernudge.tasks.module.checkpoints.replacing", full)
            with pytest.raises(OSError, match="No space left"):
                tune(module(), asha(SPACE), study=tmp_path / str(number), **options)
        again = tune(module(), asha(SPACE), study=tmp_path / str(number), **options)
        assert plain(again.history.events) == plain(whole.history.events)


@pytest.mark.parametrize("removed", [False, True])
def test_a_folder_that_is_moved_or_removed_ends_the_study(removed, bowl, tmp_path):
    folder, other = tmp_path / "mine", tmp_path / "other"

    def away(study):
        shutil.rmtree(folder) if removed else folder.rename(other)

    with pytest.raises(OSError, match="was moved, replaced or removed while the study ran"):
        tune(bowl, asha(bowl.space), seed=1, study=folder, callbacks=[after(3, away)])
    assert not folder.exists()
    if not removed:
        again = tune(bowl, asha(bowl.space), seed=1, study=other)
        assert plain(again.history.events) == plain(tune(bowl, asha(bowl.space), seed=1).history.events)
        assert again.best_weights()


def test_a_lock_file_that_is_removed_lets_no_second_writer_in(bowl, tmp_path):
    def second(study):
        (tmp_path / LOCK).unlink()
        with pytest.raises(InvalidArgumentError, match="must have one writer"):
            tune(bowl, asha(bowl.space), seed=1, study=tmp_path)

    tune(bowl, asha(bowl.space), seed=1, study=tmp_path, callbacks=[after(3, second)])
    whole = tune(bowl, asha(bowl.space), seed=1)
    assert plain(Study.open(tmp_path).history.events) == plain(whole.history.events)


def test_a_study_begun_anew_in_a_folder_reads_no_trial_of_the_one_before(tmp_path):
    tune(module(), asha(SPACE), seed=1, study=tmp_path, callbacks=stopped(6))
    assert list((tmp_path / TRIALS).iterdir())
    (tmp_path / FILE).unlink()
    x, y = data()
    parts = tuple((x[part], y[part]) for part in (TRAIN, VALID))

    def begin(**options):
        task = ModuleTask(
            model, parts, lambda *args: 0.5 * loss(*args), "accuracy", SPACE, schedule="cosine", batch_size=16
        )
        return plain(tune(task, asha(SPACE), seed=1, **options).history.events)

    assert begin(study=tmp_path) == begin()


def test_only_files_of_trials_are_removed(tmp_path):
    (tmp_path / TRIALS).mkdir()
    (tmp_path / TRIALS / "precious.txt").write_text("mine")
    tune(module(), asha(SPACE, 4), seed=1, study=tmp_path)
    assert [path.name for path in (tmp_path / TRIALS).iterdir()] == ["precious.txt"]


@pytest.mark.parametrize("lost", [False, True])
def test_without_the_best_units_file_all_but_weights_and_test_score_is_known(lost, bowl, tmp_path, caplog):
    honest = tune(bowl, asha(bowl.space), seed=1, study=tmp_path)
    before = Study.open(tmp_path)
    (file,) = (tmp_path / BEST).iterdir()
    file.unlink() if lost else file.write_bytes(file.read_bytes()[:50])
    for study in (before, Study.open(tmp_path), tune(bowl, asha(bowl.space), seed=1, study=tmp_path)):
        assert study.best_value == honest.best_value
        assert study.best_test != study.best_test
        with pytest.raises(ValueError, match=r"^best_weights: "):
            study.best_weights()
    assert "the best unit's test score is not known" in caplog.text


@pytest.mark.parametrize("number", [numpy.int64, numpy.int32, int])
def test_a_number_of_numpy_is_the_same_number(number, bowl, tmp_path):
    options = {"seed": number(1), "study": tmp_path}
    tune(bowl, asha(bowl.space), max_trials=number(4), workers=number(2), **options)
    study = tune(bowl, asha(bowl.space), max_trials=6, workers=2, **options)
    assert len(study.trials) == 6


def test_choices_of_numpy_are_read_as_numbers(tmp_path):
    task = Bowl()
    task.space = SearchSpace([*task.space.parameters, Categorical("n", (numpy.int64(3), numpy.float32(2.5)))])
    tune(task, asha(task.space, 4), seed=1, study=tmp_path)
    assert {trial.config["n"] for trial in Study.open(tmp_path).trials} <= {3, 2.5}


@pytest.mark.parametrize(
    ("name", "other"),
    [("fixed", {"width": 8}), ("precision", "float64"), ("units", 20)],
)
def test_a_task_that_trains_otherwise_is_another_study(name, other, tmp_path):
    def task(**options):
        x, y = data()
        parts = tuple((x[part], y[part]) for part in (TRAIN, VALID))
        return ModuleTask(
            model, parts, loss, "accuracy", RATES, batch_size=16, **{"fixed": {"width": 4}, **options}
        )

    tune(task(), asha(RATES), seed=1, study=tmp_path, callbacks=stopped(3))
    with pytest.raises(InvalidArgumentError, match=f"begun with other arguments: task.{name}"):
        tune(task(**{name: other}), asha(RATES), seed=1, study=tmp_path)
    assert tune(task(), asha(RATES), seed=1, study=tmp_path).ended == "scheduler"


@pytest.mark.parametrize("path", [None, 3, True, "", b"mine", ["mine"], "a\0b"])
def test_what_is_no_path_is_refused(path, bowl):
    with pytest.raises(
        InvalidArgumentError, match=r"^path: must be the path of .* but got .*; 'runs/mine', say$"
    ):
        Study.open(path)
    if path is not None:
        with pytest.raises(InvalidArgumentError, match=r"^study: must be the path of a folder, but got .*;"):
            tune(bowl, asha(bowl.space), seed=0, study=path)


OTHERWISE = {
    "a folder": lambda path: path.mkdir(),
    "a file": lambda path: path.write_text("mine"),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a pipe or a device": os.mkfifo,
}


@pytest.mark.parametrize(
    ("name", "what"),
    [(n, w) for n in (FILE, LOCK) for w in OTHERWISE if w != "a file"]
    + [(n, w) for n in (BEST, TRIALS) for w in OTHERWISE if w != "a folder"],
)
def test_what_has_a_name_of_the_studys_own_is_refused(name, what, bowl, tmp_path):
    OTHERWISE[what](tmp_path / name)
    rule = (
        rf"^study: .*/{name} must be a (file|folder), or absent, but got '{what}'; remove it, or name another"
    )
    with pytest.raises(InvalidArgumentError, match=rule):
        tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    with pytest.raises(InvalidArgumentError, match=f"{FILE}") as refused:
        Study.open(tmp_path)
    assert "\n" not in str(refused.value)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("inside", [False, True])
def test_a_folder_that_is_a_link_to_nothing_is_refused(inside, bowl, tmp_path):
    link = tmp_path / "link"
    link.symlink_to("nowhere")
    with pytest.raises(InvalidArgumentError, match=r"^study: must be a folder, but got .*link"):
        tune(bowl, asha(bowl.space), seed=0, study=link / "mine" if inside else link)


@pytest.mark.parametrize("read", [False, True])
def test_weights_whose_file_is_gone_are_said_to_be(read, bowl, tmp_path):
    study = tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    (file,) = (tmp_path / BEST).iterdir()
    file.unlink()
    again = Study.open(tmp_path) if read else tune(bowl, asha(bowl.space), seed=0, study=tmp_path)
    assert again.best_value == study.best_value
    with pytest.raises(
        ValueError, match=rf"^best_weights: {file} must hold those .*, but is not there; bring"
    ):
        again.best_weights()


def test_a_folder_that_cannot_be_made_is_refused(bowl, tmp_path):
    name = tmp_path / ("x" * 300)
    with pytest.raises(InvalidArgumentError, match=r"^study: must be a folder that can be made, .*xxx"):
        tune(bowl, asha(bowl.space), seed=0, study=name)
    with pytest.raises(InvalidArgumentError, match=r"^path: must be the folder of a study or .* there is no"):
        Study.open(name)
