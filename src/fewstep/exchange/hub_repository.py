"""Models on the Hugging Face Hub, or on a server with its API: pushed as a folder with a card, and loaded by revision.

Needs the package huggingface_hub (the extra "hub"). HF_ENDPOINT names another server. The token is that of HF_TOKEN or
of `hf auth login`.
"""

import os
import re
from collections.abc import Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from fewstep.data.latent_space import AUTOENCODER
from fewstep.models.description import DESCRIPTION, WEIGHTS
from fewstep.models.model import SavedModel
from fewstep.support.errors import InvalidInput, Unreachable

PLACE, WRITTEN = "hf:", "written"
ENDPOINT = "https://huggingface.co"
NAME = r"[A-Za-z0-9](?:[\w.-]{0,94}[A-Za-z0-9])?"
FORM = "owner/name, or owner/name@revision"


class Repository(NamedTuple):
    """A repository of a model. revision: a branch, a tag or a commit; None: the newest."""

    name: str
    revision: str | None

    @classmethod
    def read(cls, text: str) -> "Repository":
        """Of `owner/name` or `owner/name@revision`, after `hf:` or not. Raises InvalidInput for anything else."""
        found = re.fullmatch(rf"(?:{PLACE})?({NAME}/{NAME})(?:@([\w./-]+))?", text)
        if not found:
            raise InvalidInput(f"a model on the Hub must be named {FORM}, got {text!r}.")
        return cls(found[1], found[2])


def pull(place: str) -> SavedModel:
    """The model of `hf:owner/name` or `hf:owner/name@revision`, downloaded once and kept in Hugging Face's cache.

    Nothing in the repository is run, and files that are not what its description says are refused when it is loaded.
    Raises InvalidInput for a repository or a revision that there is not, Unreachable if the server does not answer.
    """
    _check_installed()
    from huggingface_hub import snapshot_download  # pyright: ignore[reportMissingImports] (of the extra "hub")

    repository = Repository.read(place)
    where: dict[str, Any] = {"repo_id": repository.name, "revision": repository.revision, "endpoint": _endpoint()}
    with _in_words(repository, "read"):
        folder = snapshot_download(**where, allow_patterns=[DESCRIPTION, WEIGHTS, f"{AUTOENCODER}/*"])
    return SavedModel.open(folder)


def push(folder: Path, repository: Repository, message: str, private: bool = False) -> str:
    """Send the files of a folder to a repository, which is made if it is new. Returns the commit.

    Raises InvalidInput without a token that may write there, Unreachable if the server does not answer.
    """
    _check_installed()
    from huggingface_hub import HfApi  # pyright: ignore[reportMissingImports] (of the extra "hub")

    api = HfApi(endpoint=_endpoint())
    with _in_words(repository, WRITTEN):
        api.create_repo(repository.name, private=private, exist_ok=True)
        if repository.revision:
            api.create_branch(repository.name, branch=repository.revision, exist_ok=True)
        where: dict[str, Any] = {"repo_id": repository.name, "revision": repository.revision}
        sent: Any = api.upload_folder(**where, folder_path=folder, commit_message=message)
    return sent.oid


def page_of(repository: Repository) -> str:
    """The address of its page."""
    return f"{_endpoint()}/{repository.name}"


def _endpoint() -> str:
    return os.environ.get("HF_ENDPOINT", ENDPOINT).rstrip("/")


def _check_installed() -> None:
    if not find_spec("huggingface_hub"):
        raise InvalidInput("models on the Hub need the package huggingface_hub: pip install 'fewstep[hub]'")


@contextmanager
def _in_words(repository: Repository, verb: str) -> Generator[None]:
    """What huggingface_hub raises, as errors of ours. verb: what is done with the repository."""
    from huggingface_hub.errors import (  # pyright: ignore[reportMissingImports] (of the extra "hub")
        EntryNotFoundError,
        HfHubHTTPError,
        HTTPError,
        LocalEntryNotFoundError,
        LocalTokenNotFoundError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    name, server = repository.name, _endpoint()
    login = "set HF_TOKEN, or run: hf auth login"
    try:
        yield
    except LocalTokenNotFoundError as problem:
        raise InvalidInput(f"{name} cannot be {verb} without a token of {server}: {login}") from problem
    except RevisionNotFoundError as problem:
        raise InvalidInput(f"{name} at {server} has no revision {repository.revision or 'main'!r}.") from problem
    except RepositoryNotFoundError as problem:  # the Hub's answer to a token that may not know of it, too
        if verb == WRITTEN:
            raise _refused(401, name, verb, server, login) from problem
        raise InvalidInput(f"there is no {name} at {server}, or it is private: check the name, or {login}") from problem
    except (OfflineModeIsEnabled, LocalEntryNotFoundError) as problem:
        raise Unreachable(f"{name} cannot be {verb}: {server} does not answer, or HF_HUB_OFFLINE is set.") from problem
    except HfHubHTTPError as problem:
        raise _refused(problem.response.status_code, name, verb, server, login) from problem
    except EntryNotFoundError as problem:
        raise InvalidInput(f"{name} at {server} holds no model of Fewstep: {problem}") from problem
    except (HTTPError, ConnectionError, TimeoutError) as problem:
        raise Unreachable(f"{name} cannot be {verb}: {server} does not answer ({type(problem).__name__}).") from problem


def _refused(status: int, name: str, verb: str, server: str, login: str) -> Exception:
    """The error for a status of HTTP."""
    if status in (401, 403):
        return InvalidInput(f"{name} cannot be {verb} at {server} with the token that is used: {login}")
    if status >= 500 or status == 429:
        return Unreachable(f"{name} cannot be {verb}: {server} answers with status {status}. Try again later.")
    return InvalidInput(f"{name} cannot be {verb}: {server} refuses it with status {status}.")
