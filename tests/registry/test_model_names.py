"""Which registered model is meant where none is named."""

import pytest

from fewstep.registry import meant_dataset, register
from fewstep.support.errors import InvalidInput
from fewstep.tracking import Backend


def test_the_only_one_is_meant_unless_another_was_asked_for(backend, finished_model, scores):
    register(finished_model(), scores(26.0), backend)
    assert meant_dataset(backend, "images", asked=False) == meant_dataset(backend, "digits", asked=True) == "digits"
    with pytest.raises(
        InvalidInput, match=r"cats has no registered model. There are models of: digits \(--dataset=digits"
    ):
        meant_dataset(backend, "cats", asked=True)


def test_those_that_are_there_are_named_where_there_are_several(backend, finished_model, scores):
    for dataset in ("digits", "moons"):
        register(finished_model(), scores(26.0, dataset=dataset), backend)
    assert meant_dataset(backend, "moons", asked=False) == "moons"
    with pytest.raises(InvalidInput, match="images has no registered model. There are models of: digits, moons"):
        meant_dataset(backend, "images", asked=False)


def test_nothing_is_made_where_nothing_was_registered(tmp_path):
    with pytest.raises(InvalidInput, match="no model is registered at .*: kedro run makes one"):
        meant_dataset(Backend.at(tmp_path, "sqlite:///mlflow.db"), "digits", asked=False)
    assert not (tmp_path / "mlflow.db").exists()
