"""The same through an MLflow server."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from PIL import Image

from fewstep.registry import attach, load_registered, register
from fewstep.tracking import Backend, open_run


@pytest.fixture
def server(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1"]
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(words, cwd=tmp_path, stdout=log, stderr=log, start_new_session=True)
    yield Backend(f"http://me:secret@127.0.0.1:{port}")
    os.killpg(process.pid, signal.SIGTERM)
    process.wait(20)


@pytest.mark.check
def test_a_training_that_starts_before_its_server(server, write_progress, finished_model, scores, caplog, capfd):
    folder = write_progress(10)
    (folder / "pictures").mkdir()
    Image.new("L", (64, 64)).save(folder / "pictures" / "samples_nfe1_000000010.png")
    run = open_run(folder, "digits", "cd", server, {"a": 1})
    with run:
        assert run.run_id is None
        write_progress(20)
        for _ in range(60):
            if run.push():
                break
            time.sleep(1)
    run.log_scores(scores(26.0).means_of("cd"))
    client = server.client()
    assert [point.step for point in client.get_metric_history(run.run_id, "loss")] == [10, 20]
    assert len(client.list_artifacts(run.run_id, "images")) == 2
    again = open_run(folder, "digits", "cd", server)
    assert again.push()
    assert len(client.list_artifacts(run.run_id, "images")) == 2
    record = register(finished_model(), scores(26.0), server, run_id=run.run_id)
    assert register(finished_model(), scores(26.0), server) == record
    loaded = load_registered(record["uri"], server)
    assert loaded.sha256 == record["model_sha256"]
    assert not [*Path(tempfile.gettempdir()).glob("fewstep-*")]
    with pytest.raises(ValueError, match="is not in the registry"):
        load_registered("models:/fewstep-digits@best", server)
    assert "secret" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.check
def test_a_version_of_no_run_on_a_server_is_made_whole_and_takes_a_report(server, finished_model, scores, tmp_path):
    for _ in range(60):
        try:
            record = register(finished_model(), scores(26.0), server)
            break
        except ConnectionError:
            time.sleep(1)
    (report := tmp_path / "report.html").write_text("a report")
    attach(finished_model(), server, report)
    (place,) = (file.parent for file in tmp_path.glob("mlartifacts/**/report.html"))
    for name in ("MLmodel", "artifacts/model/model.safetensors"):
        (place / name).unlink()
        with pytest.raises(ValueError, match="fewstep-digits version 1: its files"):
            load_registered(record["uri"], server)
        register(finished_model(), scores(26.0), server)
        assert load_registered(record["uri"], server).sha256 == record["model_sha256"]
