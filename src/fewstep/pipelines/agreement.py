"""What belongs together: a model and the images it was trained on, scores and the model they are of.

LINKS is the one table of who must agree with whom. Whoever brings datasets together calls `check_together` first: the
hooks do so before a run, for what is on disk, and before each node, for what was made in the run.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from fewstep.models.model import SavedModel
from fewstep.pipelines.places import command_of, place_of
from fewstep.support.errors import InvalidInput

ANOTHER = "another"  # said of something that has no hash of its own
SHA256 = 64  # letters of a hash
EXCUSE = "teacher_of_other_data"  # the parameter that lets a teacher of other images be taken
PIPELINES = ("ingest", "encode", "teacher", "distill", "evaluate", "report", "compare")  # in the order of their work
IN_PARTS = {"ingest", "compare"}  # of which some nodes alone are run again


@dataclass(frozen=True)
class Link:
    """One dataset of the catalog says which other one it was made with.

    of, to: their names, `*` for any recipe. says: (it, the other) -> the hash that it names, None where it names none.
    words: between both places, where they do not agree. remake: (pipeline, its nodes) that make it again. is_: the hash
    of the other.
    """

    of: str
    to: str
    says: Callable[[Any, Any], str | None]
    words: str
    remake: tuple[str, str]
    is_: Callable[[Any], str | None] = lambda other: other.sha256


def _trained_on(model: SavedModel, _: Any) -> str | None:
    return model.spec.data_sha256


def _trained_in(model: SavedModel, _: Any) -> str | None:
    return model.space.encoding


def _encoding(latents: Any) -> str:
    return latents.space.encoding


def _taught_by(model: SavedModel, _: Any) -> str | None:
    return model.spec.provenance.teacher_sha256


def _measured(scores: Any, _: Any) -> str | None:
    return scores.measurement.data_sha256


def _measured_with(scores: Any, _: Any) -> str | None:
    return scores.measurement.extractor_sha256


def _scored(scores: Any, model: SavedModel) -> str | None:
    return scores.models.get(model.spec.name, ANOTHER)


def _scored_at(scores: Any, levels: Any) -> str | None:
    """ANOTHER for scores of these levels' model that were measured at other ones."""
    names = [name for name, sha256 in scores.models.items() if sha256 == levels.model_sha256]
    for row in (row for row in scores.rows if row.model in names):
        chosen = levels.levels.get(row.nfe)
        if chosen and len(chosen) == len(row.levels) - 1 and tuple(chosen) != tuple(row.levels[1:]):
            return ANOTHER
    return None


def _shown(page: str, model: SavedModel) -> str | None:
    return model.sha256 if model.sha256 in page else ANOTHER


def _budget(scores: Any, _: Any = None) -> str:
    return str(scores.budget)


OTHER_LATENTS = "was trained on other values than those in"
OTHER_IMAGES, OTHER_SCORED = "was trained on other images than", "has scores by other images than"
OTHER_MODEL, OTHER_FEATURES = "has scores of another model than", "has scores by other features than"
OTHER_TEACHER = "had another teacher than"
ENCODE = ("encode", "encode_latents")
EXTRACT, TEACH, TRAIN = ("ingest", "make_extractor"), ("teacher", "train_teacher"), ("distill", "train_student")
SCORE = ("evaluate", "score_models,track_scores")
REPORT = ("report", "score_samplers,write_report,track_report")
COMPARE, REFERENCE = ("compare", "train_*,score_*"), ("compare", "score_reference")

LINKS = (
    Link("extractor", "images", lambda found, _: found.data_sha256, OTHER_IMAGES, EXTRACT),
    Link("latents", "images", lambda found, _: found.images_sha256, "has the latents of other images than", ENCODE),
    Link("teacher", "images", _trained_on, OTHER_IMAGES, TEACH),
    Link("student", "images", _trained_on, OTHER_IMAGES, TRAIN),
    Link("student", "teacher", _taught_by, OTHER_TEACHER, TRAIN),
    Link("teacher", "latents", _trained_in, OTHER_LATENTS, TEACH, is_=_encoding),
    Link("levels", "student", lambda levels, _: levels.model_sha256, "has levels of another model than", SCORE),
    Link("scores", "images", _measured, OTHER_SCORED, SCORE),
    Link("scores", "extractor", _measured_with, OTHER_FEATURES, SCORE),
    Link("scores", "student", _scored, OTHER_MODEL, SCORE),
    Link("scores", "teacher", _scored, OTHER_MODEL, SCORE),
    Link(
        "scores", "levels", _scored_at, "has scores at other levels than", SCORE, is_=lambda levels: levels.model_sha256
    ),
    Link("sampler_scores", "images", _measured, OTHER_SCORED, REPORT),
    Link("sampler_scores", "extractor", _measured_with, OTHER_FEATURES, REPORT),
    Link("sampler_scores", "student", _scored, OTHER_MODEL, REPORT),
    Link("sampler_scores", "teacher", _scored, OTHER_MODEL, REPORT),
    Link("report", "student", _shown, "shows another model than", REPORT),
    Link("reference_contest", "images", _measured, OTHER_SCORED, REFERENCE),
    Link("reference_contest", "extractor", _measured_with, OTHER_FEATURES, REFERENCE),
    Link("reference_contest", "teacher", _scored, OTHER_MODEL, REFERENCE),
    Link("*_contestant", "images", _trained_on, OTHER_IMAGES, COMPARE),
    Link("*_contestant", "teacher", _taught_by, OTHER_TEACHER, COMPARE),
    Link("*_contest", "images", _measured, OTHER_SCORED, COMPARE),
    Link("*_contest", "extractor", _measured_with, OTHER_FEATURES, COMPARE),
    Link("*_contest", "*_contestant", _scored, OTHER_MODEL, COMPARE),
    Link("*_contest", "reference_contest", _budget, "had another budget than", COMPARE, is_=_budget),
)
LINKED = {link.of for link in LINKS} | {link.to for link in LINKS}


@dataclass(frozen=True)
class Disagreement:
    """A link that does not hold, between datasets of these names."""

    link: Link
    of: str
    to: str
    recipe: str
    says: str
    is_: str | None


def is_linked(name: str) -> bool:
    """Whether a dataset of the catalog has to agree with others."""
    return name in LINKED or any(name.endswith(each[1:]) for each in LINKED if each.startswith("*"))


def disagreements(found: Mapping[str, Any]) -> list[Disagreement]:
    """The links that do not hold between datasets. found: {name: what is loaded}, None for one that is not there."""
    found = dict(found)
    if not _has_use_of_teacher(found):
        found.pop("teacher", None)
    return [each for link in LINKS for each in _broken(link, found)]


def check_together(found: Mapping[str, Any], catalog: Any, params: Mapping[str, Any] | None = None) -> None:
    """Raise InvalidInput unless datasets belong together, with the command that makes them so.

    found: as in disagreements. params: those of the command line, which the command repeats. Models from elsewhere, and
    a teacher of other images that is wanted (`teacher_of_other_data`), are said in words, once, and taken.
    """
    for name in ("teacher", "student") if "images" in found else ():
        if _imported(found.get(name)):
            _say(f"{place_of(catalog, name)} came from elsewhere: it may have been trained on images held out here.")
    broken = disagreements(found)
    if catalog.exists(f"params:{EXCUSE}") and catalog.load(f"params:{EXCUSE}"):
        excused = [each for each in broken if (each.of, each.to) == ("teacher", "images")]
        broken = [each for each in broken if each not in excused]
        for each in excused:
            _say(f"{_in_words([each], catalog)}: it is taken, since {EXCUSE} is true.")
    if broken:
        raise InvalidInput(f"{_in_words(broken, catalog)}. {_remedy(broken, found, catalog, params)}")


def _has_use_of_teacher(found: Mapping[str, Any]) -> bool:
    """Whether the teacher that is there has a part in what is made of these."""
    if student := found.get("student"):
        made_by = student.spec.provenance
        return made_by.imported or made_by.teacher_sha256 is not None
    recipes = [recipe for name, recipe in found.items() if name.startswith("params:student")]
    return not recipes or any(recipe.needs_teacher for recipe in recipes)


def _broken(link: Link, found: Mapping[str, Any]) -> Iterator[Disagreement]:
    for of, it in found.items():
        recipe = _recipe(link.of, of)
        to = link.to.replace("*", recipe or "")
        if it is None or recipe is None or to not in found:
            continue
        other = found[to]
        says, is_ = (None, None) if other is None else (link.says(it, other), link.is_(other))
        if other is None and (link.of, link.to) == ("student", "teacher"):
            says = _taught_by(it, None)
        if says is not None and says != is_:
            yield Disagreement(link, of, to, recipe, says, is_)


def _recipe(pattern: str, name: str) -> str | None:
    """What `*` stands for in a name: "" where there is none, None where the name is another."""
    if not pattern.startswith("*"):
        return "" if name == pattern else None
    fits = name.endswith(pattern[1:]) and name not in LINKED
    return name.removesuffix(pattern[1:]) if fits else None


def _in_words(broken: list[Disagreement], catalog: Any) -> str:
    """What does not agree with what, by their places: those that err alike together."""
    alike: dict[tuple[str, str], list[Disagreement]] = {}
    for each in broken:
        alike.setdefault((each.link.words, each.to), []).append(each)
    return "; ".join(_sentence(each, catalog) for each in alike.values())


def _sentence(alike: list[Disagreement], catalog: Any) -> str:
    first, *others = alike
    words = first.link.words
    words = words.replace("was ", "were ", 1).replace("has ", "have ", 1) if others else words
    *more, last = dict.fromkeys(str(place_of(catalog, each.of)) for each in alike)
    places = " and ".join(filter(None, (", ".join(more), last)))
    said = f"{places} {words} {place_of(catalog, first.to)}"
    if first.is_ is None:
        return f"{said}, which is not there"
    hashes = {(each.says, each.is_) for each in alike}
    shown = len(hashes) == 1 and first.says != ANOTHER
    kind, length = ("hash ", 12) if len(first.says) == SHA256 else ("", SHA256)
    return f"{said} ({kind}{first.says[:length]}, not {first.is_[:length]})" if shown else said


def _remedy(
    broken: list[Disagreement], found: Mapping[str, Any], catalog: Any, params: Mapping[str, Any] | None
) -> str:
    """What to do, as a sentence."""
    if elsewhere := {each.of for each in broken if _imported(found[each.of])}:
        again = f"fewstep import --as {min(elsewhere)} --replace"
        return f"It came from elsewhere: import it again, beside these images ({again})"
    asked = {each.link.remake[0] for each in broken}
    nodes = ",".join(each.link.remake[1].replace("*", each.recipe) for each in broken) if asked & IN_PARTS else ""
    pipelines, nodes = ",".join(filter(asked.__contains__, PIPELINES)), ",".join(dict.fromkeys(nodes.split(",")))
    return f"To make what does not belong anew: {command_of(pipelines, catalog.load('params:env'), params, nodes)}"


@cache
def _say(sentence: str) -> None:
    """Once in a process."""
    print(sentence, flush=True)


def _imported(found: Any) -> bool:
    return isinstance(found, SavedModel) and found.spec.provenance.imported
