"""The model card of a repository on the Hugging Face Hub: what the version's card says, a picture and a snippet."""

from typing import TYPE_CHECKING, Any

from fewstep.registry.card import card, represented_nfe

if TYPE_CHECKING:
    from fewstep.models.model import Model, SavedModel

PICTURE = "samples.png"
HEAD = """---
{front}---

# {title}

{picture}```bash
pip install "fewstep[hub]"
```

```python
import fewstep

model = fewstep.load("hf:{repository}")
images = model.sample(16, nfe={nfe}, seed=0){shown}
```

"""


def hub_card(
    repository: str, facts: dict, model: "SavedModel | Model", licence: str | None = None, picture: bool = True
) -> str:
    """The README.md of a repository.

    facts: of the version (fewstep.registry.record). licence: as the Hub names it. picture: PICTURE is beside it.
    """
    import yaml

    front = yaml.safe_dump(_front(facts, model, licence), sort_keys=False, allow_unicode=True)
    nfe = represented_nfe(facts)
    shown = f"![samples at {nfe} network evaluation{'s' * (nfe > 1)}]({PICTURE})\n\n" if picture else ""
    head = HEAD.format(
        front=front,
        title=f"{facts['recipe']} on {facts['dataset']}",
        picture=shown,
        repository=repository,
        nfe=nfe,
        shown='\nimages.save_grid("samples.png")' if picture else "",
    )
    # A page of the registry would be a dead link here.
    lineage = {key: value for key, value in facts["lineage"].items() if key != "teacher_version"}
    _, _, body = card({**facts, "lineage": lineage}, model).partition("\n\n")
    return head + body


def _front(facts: dict, model: "SavedModel | Model", licence: str | None) -> dict[str, Any]:
    """What the Hub reads of a card: how the model is found, and its scores."""
    front: dict[str, Any] = {"license": licence} if licence else {}
    front |= {"library_name": "fewstep", "tags": ["fewstep", "few-step", "consistency-model", facts["recipe"]]}
    if model.space.kind == "images":
        front["pipeline_tag"] = "unconditional-image-generation"
    judged, dataset = facts["judged_by"], {"name": facts["dataset"], "type": facts["dataset"]}
    task = {"type": "unconditional-image-generation", "name": "Image generation"}
    metric = {"type": judged["score"], "value": judged["value"], "name": judged["score"]}
    front["model-index"] = [
        {"name": facts["recipe"], "results": [{"task": task, "dataset": dataset, "metrics": [metric]}]}
    ]
    return front
