"""Tells who is named in `tracking.notify` that a run has ended, has failed, or has made another version champion."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from kedro.framework.hooks import hook_impl
from kedro.io import CatalogProtocol
from kedro.pipeline import Pipeline

from fewstep.registry import history, registered_name
from fewstep.support.errors import Divergence, UserError
from fewstep.tracking import Backend
from fewstep.tracking.notify import notify

MOVING = {"registration", "promotions"}  # what is made by pipelines that can move the champion


class Notices:
    """The ends of `kedro run`."""

    def __init__(self):
        self._moves: int | None = None  # of the champion, before a run that can move it

    @hook_impl(trylast=True)
    def before_pipeline_run(self, pipeline: Pipeline, catalog: CatalogProtocol) -> None:
        told = catalog.load("params:tracking").notify and MOVING & pipeline.all_outputs()
        self._moves = len(_moves(catalog)) if told else None

    @hook_impl
    def after_pipeline_run(self, run_params: dict[str, Any], catalog: CatalogProtocol) -> None:
        if self._moves is not None:
            _tell_moves(catalog, self._moves)
        _tell(catalog, "finished", f"{_words(run_params, catalog)} has finished")

    @hook_impl
    def on_pipeline_error(self, error: Exception, run_params: dict[str, Any], catalog: CatalogProtocol) -> None:
        event = "diverged" if isinstance(error, Divergence) else "failed"
        why = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        _tell(catalog, event, f"{_words(run_params, catalog)} has {event}: {why[:1000]}")


@contextmanager
def telling_of_champion(catalog: CatalogProtocol) -> Generator[None]:
    """Tell of each move of the champion that is made here."""
    before = len(_moves(catalog)) if catalog.load("params:tracking").notify else None
    yield
    if before is not None:
        _tell_moves(catalog, before)


def _tell_moves(catalog: CatalogProtocol, before: int) -> None:
    for move in _moves(catalog)[before:]:
        dataset = catalog.load("params:dataset")
        text = f"{dataset}: version {move['to']} is champion ({move['kind']} by {move['who']}): {move['why']}"
        _tell(catalog, "champion", text, version=move["to"], previous=move["from"], kind=move["kind"])


def _tell(catalog: CatalogProtocol, event: str, text: str, **facts: Any) -> None:
    about = {name: catalog.load(f"params:{name}") for name in ("dataset", "recipe", "env")}
    notify(catalog.load("params:tracking").notify, event, text, **about, **facts)


def _moves(catalog: CatalogProtocol) -> list[dict]:
    """Every move of the champion so far; none if there is no registry that answers."""
    backend: Backend = catalog.load("tracking")
    try:
        return history(backend, registered_name(backend, catalog.load("params:dataset")))
    except UserError:
        return []


def _words(run_params: dict[str, Any], catalog: CatalogProtocol) -> str:
    """Which run it is: "distill, evaluate of cd on digits"."""
    names = ", ".join(run_params.get("pipeline_names") or ["the run"])
    return f"{names} of {catalog.load('params:recipe')} on {catalog.load('params:dataset')}"
