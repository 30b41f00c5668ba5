"""The model registry in MLflow: versions, their records, the champion, and the gate that decides about it."""

from fewstep.registry.champion_log import champion_of, history
from fewstep.registry.exam import Exam, make_exam
from fewstep.registry.gate import Rules, decide
from fewstep.registry.model_names import meant_dataset, registered_name, trained_with
from fewstep.registry.promotion import force, promote, rollback
from fewstep.registry.registration import attach, load_registered, register, register_teacher, sync
from fewstep.registry.version_list import listed
from fewstep.registry.versions import load_newer

__all__ = [
    "Exam",
    "Rules",
    "attach",
    "champion_of",
    "decide",
    "force",
    "history",
    "listed",
    "load_newer",
    "load_registered",
    "make_exam",
    "meant_dataset",
    "promote",
    "register",
    "register_teacher",
    "registered_name",
    "rollback",
    "sync",
    "trained_with",
]
