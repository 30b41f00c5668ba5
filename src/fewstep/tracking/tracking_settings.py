"""How the trainings of a run are tracked: the parameters of `tracking`."""

from dataclasses import dataclass

from fewstep.support.checks import check_fields, matches, optional
from fewstep.support.names import check_name
from fewstep.tracking.mirrors import MIRRORS
from fewstep.tracking.notify import check_target

LINE = matches(r"[^\n]{1,200}", "a line of at most 200 characters")


@dataclass(frozen=True)
class TrackingSettings:
    """mirrors: where trainings are shown beside MLflow: tensorboard, wandb, trackio. notify: web
    addresses and commands that are told of the end of a run and of a new champion. run_name: what the training of a
    student is called; by default its recipe. parent_run: the id of the MLflow run below which it is shown.
    """

    __pydantic_config__ = {"extra": "forbid"}  # noqa: RUF012

    mirrors: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()
    run_name: str | None = None
    parent_run: str | None = None

    def __post_init__(self):
        for name in self.mirrors:
            check_name("mirror", name, MIRRORS)
        for target in self.notify:
            check_target(target)
        check_fields(self, run_name=optional(LINE), parent_run=optional(matches(r"\w{1,64}", "the id of a run")))
