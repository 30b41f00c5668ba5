"""A version's model card: what MLflow shows as its description."""

import json
from statistics import fmean
from typing import TYPE_CHECKING

from fewstep.data.class_names import class_list
from fewstep.evaluation import FULL_SEEDS
from fewstep.evaluation.interval import interval

if TYPE_CHECKING:
    from mlflow.entities import Run as MlflowRun

    from fewstep.models.model import Model, SavedModel

SHOWN = ("fid", "kid", "recall", "wasserstein", "memorisation")
CARD = """# {name}: {recipe}

{made} It makes {what}{classes}.

{labels}**From a picture to its data** A served picture names this version, its seed and its levels.
**Weights** `{model_sha256:.12}`, {weights:,} of them. **Training** {cost}{run}{earlier}. **Teacher** {teacher}.
**Code** commit `{git_commit:.12}`{dirty}.{lock} **Data** {dataset}, `{data_sha256:.12}`.

{use}Scores at each number of network evaluations (NFE): means over seeds of {count} samples, ± half of the
95 % interval.

{table}

**Limits** {limits}

**Licence** of the code: Apache 2.0. That of the data and of a teacher from elsewhere is their owners' to say.

```json
{method}
```
"""


USE = """```python
import fewstep

model = fewstep.load("models:/{place}")
images = model.sample(16, nfe={nfe}, seed=0)
```

```bash
fewstep serve --model models:/{place} --port 5001
curl localhost:5001/invocations -H 'Content-Type: application/json' \\
  -d '{{"inputs": [{{"num_images": 4, "nfe": {nfe}, "seed": 0}}]}}'
```

"""


def version_card(facts: dict, model: "SavedModel | Model", number: str | int, run: "MlflowRun | None" = None) -> str:
    """The card of a version, which also says how it is used in Python and by HTTP. number: of the version."""
    use = USE.format(place=f"{facts['name']}/{number}", nfe=represented_nfe(facts))
    return card(facts, model, run, use)


def represented_nfe(facts: dict) -> int:
    """The evaluations of the score that represents a version, which snippets and pictures of it have too."""
    return int(facts["judged_by"]["score"].rpartition("_")[2])


def card(facts: dict, model: "SavedModel | Model", run: "MlflowRun | None" = None, use: str = "") -> str:
    """The card in Markdown. facts: of the version. model: the finished model. run: the MLflow run that trained it.

    use: Markdown that stands before the scores.
    """
    spec, space, lineage, judged = model.spec, model.space, facts["lineage"], facts["judged_by"]
    made_by = spec.provenance
    evidence = facts.get("evidence", {})
    return CARD.format(
        use=use,
        **{key: facts[key] for key in ("name", "recipe", "dataset", "model_sha256")},
        made=f"Imported from {made_by.source}." if made_by.imported else "Trained by Fewstep.",
        what=f"{'x'.join(map(str, space.shape))} {space.kind}",
        classes=f" of {len(space.classes)} classes, asked for by name or number" if spec.labels else ", without labels",
        labels=f"**Labels** {class_list(space.classes)}.\n" if spec.labels else "",
        data_sha256=judged["data_sha256"],
        run=f", [its run](#/experiments/{run.info.experiment_id}/runs/{run.info.run_id})" if run else "",
        teacher=_teacher(lineage),
        earlier=f", after `{lineage['earlier']}` (`{lineage['earlier_sha256']:.12}`)" if "earlier" in lineage else "",
        lock=f" `dvc.lock` `{lineage['dvc_lock_sha256']:.12}`." if "dvc_lock_sha256" in lineage else "",
        git_commit=lineage.get("git_commit", "unknown"),
        dirty=", with changes that were not committed" if lineage.get("git_dirty") == "true" else "",
        weights=model.weights,
        cost=f"{made_by.seconds:,.0f} s" if made_by.seconds else "of unknown cost",
        count=judged["count"],
        table=_table(evidence) if evidence else "None are kept.",
        limits=_limits(facts, model),
        method=json.dumps({"objective": made_by.objective, "training": made_by.training, "network": spec.network}),
    )


def _limits(facts: dict, model: "SavedModel | Model") -> str:
    """What to know before relying on the scores."""
    judged, evidence, space = facts["judged_by"], facts.get("evidence", {}), model.space
    shown, score = model.spec.provenance.images, judged["score"].partition("/")[0]
    by = f", by the same features (`{judged['extractor_sha256']:.12}`)" if judged["extractor_sha256"] else ""
    said = [f"It makes {'x'.join(map(str, space.shape))} {space.kind} like those of {facts['dataset']}, and no others."]
    if shown:
        said.append(f"Training showed it {shown:,}, repetitions counted.")
    if scored := model.spec.provenance.more.get("scored"):
        said.append(_chosen(scored))
    if evidence:
        said.append(f"It was judged at {', '.join(sorted(evidence, key=int))} NFE, and is not known at others.")
    if few := [nfe for nfe in sorted(evidence, key=int) if len(evidence[nfe]["seeds"]) < FULL_SEEDS]:
        said.append(f"Its scores at {', '.join(few)} NFE are provisional: of fewer than {FULL_SEEDS} seeds.")
    said.append(f"`{score}` compares with nothing but `{score}` on the same data{by}, of as many samples.")
    return " ".join([*said, *_copies(facts)])


def _chosen(scored: dict) -> str:
    """How scores while it trained chose its weights, or when its training stopped."""
    found = f"{scored['scores']} scores while it trained, on other noise than the scores above"
    best, trained = f"{scored['best_at']:,}", f"{scored['trained']:,} images"
    if scored["result"] == "best":
        return f"It is the best by {found}: that at {best} of {trained}."
    return f"Its training ended at {trained}, watched by {found}, of which that at {best} was the best."


def _copies(facts: dict) -> list[str]:
    """The share of memorised samples, and the same share of held-out data."""
    values = [found["values"].get("memorisation") for found in facts.get("evidence", {}).values()]
    if None in values or not values:
        return []
    floor = facts["scores"].get("memorisation/floor")
    real = "unknown" if floor is None else f"{floor:.2%}"
    rate = f"{max(map(fmean, values)):.2%}"
    return [
        f"At most {rate} of its samples are memorised: three times nearer to one training sample than to any other.",
        f"Of held-out data that share is {real}.",
    ]


def _teacher(lineage: dict) -> str:
    """Its weights, and its page in the registry if it is registered."""
    if "teacher_sha256" not in lineage:
        return "none"
    name, _, number = lineage.get("teacher_version", "").partition("/")
    page = f", [{name} version {number}](#/models/{name}/versions/{number})" if number else ""
    return f"`{lineage['teacher_sha256']:.12}`{page}"


def _table(evidence: dict[str, dict]) -> str:
    """A row for each NFE."""
    first = next(iter(evidence.values()))["values"]
    names = [name for name in first if name.partition("_")[0] in SHOWN]
    rows = [["NFE", "seeds", *names], ["--"] * (len(names) + 2)]
    for nfe, found in evidence.items():
        rows.append([nfe, str(len(found["seeds"])), *(_shown(found["values"][name]) for name in names)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _shown(values: list[float]) -> str:
    mean, sure = fmean(values), interval(values)
    return f"{mean:.4g}{f' ± {sure[1] - mean:.2g}' if sure else ''}"
