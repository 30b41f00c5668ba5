"""MLflow runs, one for each training, kept up to date from its run folder."""

import json
import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from fewstep.support.json_text import parse_json
from fewstep.tracking.backend import Backend
from fewstep.tracking.follow import Picture, Progress
from fewstep.tracking.lineage import flatten
from fewstep.tracking.mirrors import Mirrors
from fewstep.tracking.mlflow_calls import (
    data_input,
    find_run,
    log_points,
    log_texts,
    logged_pictures,
    points_of,
    scores_by_nfe,
)

if TYPE_CHECKING:
    from mlflow import MlflowClient

log = logging.getLogger(__name__)

STATE = {"experiment": str, "name": str, "created_ms": int, "run_id": str | None, "status": str, "images": int}
STATE |= {"params": dict, "tags": dict, "scores": dict, "files": list}
LOGGED = "scores_sha256"  # the tag that says which scores MLflow has
PARENT = "mlflow.parentRunId"  # the tag by which MLflow shows a run below another
INTERVAL, PATIENCE = 2.0, 30.0  # seconds from one push to the next, and after one that failed


def open_run(
    folder: Path | str,
    experiment: str,
    name: str,
    backend: Backend,
    params: Mapping | None = None,
    tags: Mapping[str, str] | None = None,
    parent: str | None = None,
    mirrors: Sequence[str] = (),
) -> "Run":
    """The run of a run folder: a new one, or that of `<folder>/tracking.json`. MLflow is not contacted yet.

    params: nested. If a later session on the same run has other values, the first ones stay, and tags `later.<name>`
    have the new ones. parent: the run below which MLflow shows it; the one that is named last.
    mirrors: where else it is shown, names of MIRRORS.
    """
    path = Path(folder) / "tracking.json"
    given: dict = json.loads(json.dumps(dict(params or {}), default=str))
    tags = dict(tags or {})
    if state := _read_state(path):
        first = flatten(state["params"]) | state["tags"]
        now = flatten(given) | tags
        state["tags"] |= {f"later.{key}": value for key, value in now.items() if first.get(key, value) != value}
    else:
        state = {"experiment": experiment, "name": name, "created_ms": round(time.time() * 1000), "run_id": None}
        state |= {"status": "FINISHED", "images": -1, "params": given, "tags": tags, "scores": {}, "files": []}
    state["tags"] |= {PARENT: parent} if parent else {}
    shown = Mirrors(path.parent, mirrors, experiment, state["name"], state["params"])
    return Run(path, state, backend, shown)


@dataclass
class Connection:
    """A run that MLflow has. pictures: (key, images seen) of those that it has whole."""

    client: "MlflowClient"
    run_id: str
    pictures: set[tuple[str, int]]


def _read_state(path: Path) -> dict | None:
    """What a run is, if anything; None, with a warning, where the file was damaged."""
    if not path.exists():
        return None
    try:
        state = parse_json(path.read_text())
        wrong = [key for key, kind in STATE.items() if not isinstance(state[key], kind)]
    except (OSError, ValueError, LookupError, TypeError) as problem:
        state, wrong = None, [repr(problem)]
    if wrong:
        log.warning("%s is damaged (%s): this work is logged as a new run.", path, ", ".join(wrong))
        return None
    return state


class Run:
    """One MLflow run. If MLflow does not answer there is a warning, and the next push sends what is missing.

    `with run:` marks it as running, then as finished, failed or killed. A run that is a consumer of a Follower gets
    entries and pictures from it; without a Follower it reads the run folder when it pushes.
    """

    def __init__(self, path: Path, state: dict, backend: Backend, mirrors: Mirrors):
        self._path, self._state, self._backend, self._mirrors = path, state, backend, mirrors
        self._progress: Progress | None = Progress(path.parent)  # None once a Follower reads instead
        self._entries: list[dict] = []  # not logged yet
        self._pictures: list[Picture] = []
        self._connection: Connection | None = None
        self._lock, self._due, self._away = threading.RLock(), 0.0, False
        self._save()

    @property
    def run_id(self) -> str | None:
        """MLflow's id; None until MLflow has answered once."""
        return self._state["run_id"]

    @property
    def code(self) -> dict[str, str]:
        """The commit at the start and whether files differed from it, as in git_state."""
        return {key: value for key, value in self._state["tags"].items() if key.startswith("git_")}

    def __call__(self, entries: Sequence[dict], pictures: Sequence[Picture]) -> None:
        """Take new entries and pictures from a Follower, and push from time to time."""
        with self._lock:
            if self._progress:  # the Follower begins with the first line: what was read here comes again
                self._progress, self._entries, self._pictures = None, [], []
            self._entries += entries
            self._pictures += pictures
        self._mirrors(entries, pictures)
        if time.monotonic() >= self._due:
            self.push()

    def __enter__(self) -> "Run":
        self._state["status"] = "RUNNING"
        self._mirrors.open()  # both here rather than in a Follower's thread: imports in two threads at once can fail
        self.push()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        failed = "FAILED" if kind and issubclass(kind, Exception) else "KILLED"
        self._state["status"] = failed if kind else "FINISHED"
        self._mirrors.close()
        self.push()

    def log_scores(self, flat: Mapping[str, float]) -> None:
        """Log scores of the run's model, with names such as `fid_digits/nfe_01`."""
        self._state["scores"] = dict(flat)
        self._mirrors.log_scores(flat, max(self._state["images"], 0))
        self.push()

    def log_data(self, name: str, sha256: str, place: Path, facts: Mapping) -> None:
        """Say which data the run used: their name, hash and folder, and what is known of them, ready for JSON."""
        self._state["data"] = {"name": name, "sha256": sha256, "place": str(place), "facts": dict(facts)}
        self.push()

    def attach(self, *files: Path | str) -> bool:
        """Keep files, such as a sample sheet, with the run. Returns whether MLflow has them now."""
        self._state["files"] += [str(Path(file).resolve()) for file in files]
        return self.push()

    def push(self) -> bool:
        """Bring MLflow up to date. Returns False, with one warning, if it cannot be reached."""
        with self._lock:
            try:
                self._save()
                self._push()
            except Exception as problem:
                if not self._away:
                    text = "%s. The work goes on; what is not logged now is logged when MLflow is back."
                    log.warning(text, self._backend.words(problem))
                self._connection, self._away, self._due = None, True, time.monotonic() + PATIENCE
                return False
            if self._away:
                log.warning("MLflow at %s is back.", self._backend.address)
            self._away, self._due = False, time.monotonic() + INTERVAL
            return True

    def _push(self) -> None:
        if self._connection is None:
            self._connection = self._connect()
        if self._progress:
            self._take(self._progress)
        self._push_metrics(self._connection)
        self._push_pictures(self._connection)
        self._push_results(self._connection)

    def _connect(self) -> Connection:
        """Find the run, or create it with its params and tags, again if MLflow has lost it."""
        client, state = self._backend.client(), self._state
        run = find_run(client, self.run_id)
        if run is None:
            experiment = self._backend.experiment(client, state["experiment"])
            run = client.create_run(experiment, start_time=state["created_ms"], run_name=state["name"])
            state |= {"run_id": run.info.run_id, "images": -1}
            self._entries, self._pictures, progress = [], [], Progress(self._path.parent)
            self._take(progress)  # all again: nothing is in this run yet
            self._progress = self._progress and progress
            self._save()
            client.log_text(run.info.run_id, json.dumps(state["params"], indent=2), "params.json")
        log_texts(client, run, flatten(state["params"]), state["tags"])
        return Connection(client, run.info.run_id, logged_pictures(client, run.info.run_id))

    def _take(self, progress: Progress) -> None:
        entries, pictures = progress.read()
        self._entries += entries
        self._pictures += pictures

    def _push_metrics(self, connection: Connection) -> None:
        """Log new entries. An entry has a fixed timestamp and MLflow keeps one of equal points, so none is doubled."""
        new = [entry for entry in self._entries if entry["images"] > self._state["images"]]
        log_points(connection.client, connection.run_id, points_of(new, self._state["created_ms"]))
        if new:
            self._state["images"] = new[-1]["images"]
            self._save()
        self._entries = []

    def _push_pictures(self, connection: Connection) -> None:
        from PIL import Image

        waiting = []
        for picture in self._pictures:
            if (picture.key, picture.images) in connection.pictures:
                continue
            try:
                image = Image.open(picture.path)
                image.load()
            except OSError:  # still being written
                waiting.append(picture)
                continue
            connection.client.log_image(connection.run_id, image, key=picture.key, step=picture.images)
            connection.pictures.add((picture.key, picture.images))
        self._pictures = waiting

    def _push_results(self, connection: Connection) -> None:
        """Log data and scores that MLflow does not have yet, files, and the status of the run."""
        from mlflow.entities import RunTag

        from fewstep.support.tensor_files import seal

        client, run_id = connection.client, connection.run_id
        run = client.get_run(run_id)
        if (data := self._state.get("data")) and not (run.inputs and run.inputs.dataset_inputs):
            client.log_inputs(run_id, [data_input(data)])
        if (scores := self._state["scores"]) and run.data.tags.get(LOGGED) != (found := seal(scores)):
            metrics, tags = scores_by_nfe(scores)
            client.log_batch(run_id, metrics=metrics, tags=[*tags, RunTag(LOGGED, found)])
        while self._state["files"]:
            if Path(self._state["files"][0]).exists():
                client.log_artifact(run_id, self._state["files"][0])
            self._state["files"].pop(0)
            self._save()
        if run.info.status != self._state["status"]:
            change = client.update_run if self._state["status"] == "RUNNING" else client.set_terminated
            change(run_id, status=self._state["status"])

    def _save(self) -> None:
        from fewstep.support.files import write_json  # and torch with it: not before there is a run

        with self._lock:
            write_json(self._path, self._state)
