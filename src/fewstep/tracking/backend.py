"""The server or the database where MLflow keeps runs and versions."""

import logging
import os
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from fewstep.support.errors import InvalidInput, Unreachable, UserError
from fewstep.tracking.database import ensure_database

if TYPE_CHECKING:
    from mlflow import MlflowClient

SQLITE = "sqlite:///"
# Names of MLflow's error codes (mlflow.protos.databricks_pb2.ErrorCode), as MlflowException.error_code has them.
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the latter is said of an alias
AWAY = ("TEMPORARILY_UNAVAILABLE", "DEADLINE_EXCEEDED")


@dataclass(frozen=True)
class Backend:
    """Where MLflow keeps runs and versions (its "backend store"): a server or a database.

    uri: absolute, so that it holds in any working folder.
    """

    uri: str

    @classmethod
    def at(cls, project: Path | str, uri: str | None = None) -> "Backend":
        """That of a project: `uri` if given, else MLFLOW_TRACKING_URI, else `mlflow.db` in the project folder.

        That file is what plain `mlflow` commands and `import mlflow` open in this folder, so they find it unasked.
        ValueError for a folder or file: URI, where MLflow no longer keeps runs.
        """
        uri = uri or os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
        if uri.startswith(SQLITE):
            return cls(SQLITE + str(Path(project).resolve() / uri.removeprefix(SQLITE)))
        if urlsplit(uri).scheme in ("", "file"):
            raise InvalidInput(
                f"the tracking URI must be a database ({SQLITE}mlflow.db) or a server (http://host:5000), got {uri!r}: "
                "MLflow no longer keeps runs in plain folders."
            )
        return cls(uri)

    @property
    def database(self) -> Path | None:
        """The file of an SQLite database."""
        return Path(self.uri.removeprefix(SQLITE)) if self.uri.startswith(SQLITE) else None

    @property
    def address(self) -> str:
        """The URI without its password, to be shown."""
        return self.uri.replace(self._password, "")

    @property
    def _password(self) -> str:
        """`user:password@`."""
        return "".join(urlsplit(self.uri).netloc.rpartition("@")[:2])

    def words(self, problem: Exception) -> str:
        """The first line of what MLflow says, without a password."""
        line = str(problem).strip().partition("\n")[0].replace(self._password or "\n", "")
        return line[:300] or type(problem).__name__

    def existing(self) -> "MlflowClient":
        """A client, where something was kept before. Raises ValueError where not: `client` would make the database."""
        self.check_there()
        return self.client()

    def check_there(self) -> None:
        """Raise ValueError if nothing was ever kept here."""
        if self.database and not self.database.exists():
            raise InvalidInput(
                f"there is no registry at {self.address}: go to the project's folder, or set MLFLOW_TRACKING_URI."
            )

    def check_beside(self, place: str) -> None:
        """Raise ValueError if a database keeps files elsewhere: MLflow never changes where an experiment keeps them."""
        if self.database and not Path(place.removeprefix("file://")).is_relative_to(self.database.parent):
            raise InvalidInput(
                f"the registry at {self.address} was moved or copied: its files are in {place}. Move it back, or "
                f"remove {self.database.name} and mlartifacts here, and: fewstep registry sync"
            )

    def client(self) -> "MlflowClient":
        """A client that has just had an answer; ConnectionError, within seconds, where there is none."""
        for name, level in (("mlflow.store.db.utils", logging.WARNING), ("urllib3.connectionpool", logging.ERROR)):
            logging.getLogger(name).setLevel(level)
        try:
            if self.database:
                ensure_database(self.database)
            from mlflow import MlflowClient

            client = MlflowClient(self.uri, registry_uri=self.uri)
            client.search_experiments(max_results=1)
        except UserError:
            raise
        except Exception as problem:
            raise Unreachable(f"MLflow at {self.address} does not answer: {self.words(problem)}") from problem
        return client

    @contextmanager
    def asked_for(self, what: str) -> Generator[None]:
        """What MLflow says instead of an answer, in words: a ConnectionError where it is away, else a ValueError."""
        from mlflow.exceptions import MlflowException

        try:
            yield
        except MlflowException as problem:
            words = self.words(problem)
            if problem.error_code in ABSENT:
                raise InvalidInput(f"{what} is not in the registry at {self.address}: {words}") from problem
            if problem.error_code in AWAY or isinstance(problem.__context__, OSError):
                raise Unreachable(f"MLflow at {self.address} does not answer: {words}") from problem
            raise InvalidInput(f"{what} cannot be read in the registry at {self.address}: {words}") from problem

    @contextmanager
    def alone(self) -> Generator[None]:
        """Nobody else moves a champion meanwhile, in any process on this machine; of a server nobody can say so."""
        from filelock import FileLock

        with FileLock(f"{self.database}.lock") if self.database else nullcontext():
            yield

    def experiment(self, client: "MlflowClient", name: str) -> str:
        """The id of an experiment, made if new, restored if deleted. Artifacts of an SQLite database lie beside it."""
        known = client.get_experiment_by_name(name)
        if known is None:
            folder = self.database and str(self.database.parent / "mlartifacts" / name)
            return client.create_experiment(name, artifact_location=folder)
        if known.lifecycle_stage == "deleted":
            client.restore_experiment(known.experiment_id)
        return known.experiment_id
