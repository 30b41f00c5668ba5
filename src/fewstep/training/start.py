"""Where a training begins: at the weights of a teacher or an earlier student, or at a checkpoint of the same job."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fewstep.networks import Network
from fewstep.support.errors import InvalidInput
from fewstep.training.numerics import changes_between

# Settings in which a student's network may differ from that which it starts from, and weights that only one of them
# need have: of augmentation's labels, which are zeros in sampling.
FREE, FREE_WEIGHTS = ("dropout", "dropout_size", "second_time", "augment_dim"), ("embed.augment.",)


def start_from(network: Network, teacher: Network, new: Sequence[str] = ()):
    """Copy a teacher's weights; what is new keeps its own. Raises what check_start does."""
    check_start(network, teacher, new)
    mine, its = network.state_dict(), teacher.state_dict()
    network.load_state_dict({n: its[n] for n in _alike(mine, its)}, strict=False)


def check_start(network: Network, teacher: Network, new: Sequence[str] = (), whom: str = "teacher"):
    """Raise ValueError that names where two networks differ, so that the teacher's weights do not fit or mean another.

    network, teacher: build_network's, on any device. new: beginnings of the names of parameters and settings that may
    differ. whom: what the teacher is called.
    """
    new = tuple(new)
    theirs, ours = teacher.settings, network.settings
    names = [n for n in theirs.keys() | ours.keys() if n not in FREE and not n.startswith(new)]
    settings = sorted(n for n in names if theirs.get(n) != ours.get(n))
    mine, its = network.state_dict(), teacher.state_dict()
    unlike = (mine.keys() | its.keys()) - _alike(mine, its)
    shapes = sorted(n for n in unlike if not n.startswith((*new, *FREE_WEIGHTS)))
    if settings:
        what = f"the {whom}'s has {', '.join(f'network.{n}={theirs.get(n)} (not {ours.get(n)})' for n in settings)}"
    elif shapes:
        what = f"{shapes[0]} is not the same ({len(shapes)} parameters differ)"
    else:
        return
    raise InvalidInput(
        f"a student can start from its {whom} only with the same network, and {what}: use the {whom}'s network, list "
        "in start_new what may differ, or set start: scratch."
    )


def _alike(mine: dict[str, Any], its: dict[str, Any]) -> set[str]:
    """Names of the parameters that both have with one shape."""
    return {n for n in mine.keys() & its.keys() if mine[n].shape == its[n].shape}


def check_same_job(saved: dict[str, Any], asked: dict[str, Any], run_dir: Path, other_numerics: bool = False):
    """Raises ValueError that names what differs between a checkpoint's job and the one asked for.

    other_numerics: they may differ in the versions of what makes the numbers.
    """
    differing = {k for k in asked.keys() | saved.keys() if asked.get(k) != saved.get(k)}
    if differing == {"numerics"} and not other_numerics:
        raise InvalidInput(
            f"the training in {run_dir} was begun by code that computes other numbers "
            f"({changes_between(saved['numerics'], asked['numerics'])}). Start anew with --params=fresh=true, or go on "
            "from its checkpoint regardless with --params=launch.other_numerics=true, which the model then says."
        )
    if differing - {"numerics"}:
        raise InvalidInput(
            f"the checkpoints in {run_dir} belong to another configuration ({', '.join(sorted(differing))} differ): "
            "move that folder away, or start again with --params=fresh=true."
        )
