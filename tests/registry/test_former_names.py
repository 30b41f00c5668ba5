"""Registries from when the project was named Onestep, with other names and versions without a package."""

import hashlib
import json
from pathlib import Path

import pytest
from click.testing import CliRunner

import fewstep
from fewstep.cli import main
from fewstep.models.model import Model
from fewstep.registry import history, load_registered, model_names, register, register_teacher, registered_name, sync
from fewstep.registry.package import CODE_SEAL, PACKAGE, PACKAGE_SEAL

OLD = "models:/onestep-digits@champion"

pytestmark = pytest.mark.slow


@pytest.fixture
def old_record(backend, finished_model, scores, monkeypatch):
    """The record of a student and its teacher in a registry as it was then."""
    with monkeypatch.context() as then:
        then.setattr(model_names, "PREFIX", model_names.FORMERLY)
        teacher = register_teacher(finished_model(teacher=True), scores(26.0), backend)
        record = register(finished_model(), scores(26.0), backend, teacher=teacher)
    client = backend.client()
    for name in ("onestep-digits", "onestep-digits-teacher"):
        place = Path(client.get_model_version(name, "1").source)
        (place / PACKAGE).unlink()
        (place / "generator.py").write_text("from onestep.tracking import generator\n")
        sealed = (place / "MLmodel").read_bytes() + (place / "generator.py").read_bytes()
        client.set_model_version_tag(name, "1", CODE_SEAL, hashlib.sha256(sealed).hexdigest())
        client.delete_model_version_tag(name, "1", PACKAGE_SEAL)
    return record


def test_a_version_from_then_is_loaded_and_still_sealed(backend, old_record, finished_model):
    assert (old_record["uri"], old_record["teacher"]["name"]) == (OLD, "onestep-digits-teacher")
    assert fewstep.load(OLD, backend).sha256 == finished_model().sha256
    place = Path(backend.client().get_model_version("onestep-digits", "1").source)
    (place / "generator.py").write_text("print()")
    with pytest.raises(ValueError, match="its files are not the registered ones"):
        load_registered(OLD, backend)


def test_a_package_that_was_registered_cannot_go_missing(backend, finished_model, scores):
    record = register(finished_model(), scores(26.0), backend)
    (Path(backend.client().get_model_version("fewstep-digits", "1").source) / PACKAGE).unlink()
    with pytest.raises(ValueError, match="its files are not the registered ones"):
        load_registered(record["uri"], backend)


def test_sync_makes_versions_of_todays_name(backend, old_record, finished_model, caplog):
    moves = {"name": "onestep-digits", "moves": history(backend, "onestep-digits")}
    assert registered_name(backend, "digits") == "onestep-digits"
    assert "onestep-digits. To make fewstep-digits: fewstep registry sync" in caplog.text
    found = [(old_record["teacher"], finished_model(teacher=True).folder), (old_record, finished_model().folder)]
    teacher, student = sync(found, backend, moves)
    assert (teacher["uri"], student["uri"]) == ("models:/fewstep-digits-teacher/1", "models:/fewstep-digits@champion")
    assert student["lineage"]["teacher_version"] == "fewstep-digits-teacher/1"
    assert history(backend, "fewstep-digits") == moves["moves"]
    assert registered_name(backend, "digits") == "fewstep-digits"
    for uri in (OLD, "models:/fewstep-digits@champion", "models:/fewstep-digits/latest"):
        assert load_registered(uri, backend).sha256 == old_record["model_sha256"]


def test_commands_use_the_former_name_where_it_is_the_only_one(here, backend, old_record, monkeypatch, caplog):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    for command in ("registry history --env=base", "sample sheet.png --count=4"):
        caplog.clear()
        result = CliRunner().invoke(main, command.split())
        assert result.exit_code == 0, result.output
        assert "fewstep-digits is registered under its former name, onestep-digits" in caplog.text


def test_a_model_from_then_is_loaded(finished_model):
    """Its description names the package's version under its name of then."""
    from fewstep.support.tensor_files import seal

    file = finished_model().folder / "model.json"
    described = json.loads(file.read_text())
    described["provenance"] |= {"onestep": "0.1.0"}
    described["seal"] = seal({key: value for key, value in described.items() if key != "seal"})
    file.write_text(json.dumps(described))
    assert Model.load(file.parent).spec.provenance.more == {"onestep": "0.1.0"}
