"""A client of the server: pictures from `fewstep serve`, or from `mlflow models serve`, by its address."""

import base64
import io
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fewstep.support.errors import InvalidInput, Unreachable

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image


@dataclass(frozen=True)
class Client:
    """address: http://127.0.0.1:5001. seconds: that an answer may take."""

    address: str
    seconds: float = 60.0

    def sample(self, count: int = 1, nfe: int = 1, seed: int = 0, label: int | str | None = None) -> "list[Image]":
        """Pictures, as Model.sample makes them with the same seed.

        Raises InvalidInput for what the server refuses, Unreachable if it does not answer or has no room now.
        """
        (answer,) = self.ask({"num_images": count, "nfe": nfe, "seed": seed, "label": label})
        return self.pictures(answer)

    def pictures(self, answer: dict[str, Any]) -> "list[Image]":
        """The pictures of an answer. Raises InvalidInput for one of points."""
        from PIL import Image

        if "images" not in answer:
            raise InvalidInput(f"the model at {self.address} makes points, not pictures: use ask().")
        return [Image.open(io.BytesIO(base64.b64decode(png))) for png in answer["images"]]

    def arrays(self, answer: dict[str, Any]) -> "np.ndarray":
        """The same pictures as uint8 [N, C, H, W]. Raises as pictures does."""
        import numpy as np

        return np.stack([np.atleast_3d(np.asarray(each)).transpose(2, 0, 1) for each in self.pictures(answer)])

    def ask(self, *requests: dict[str, Any]) -> list[dict[str, Any]]:
        """The answer to each request, as the server gives it. Raises as sample does."""
        body = json.dumps({"inputs": requests}).encode()
        place, kind = f"{self.address.rstrip('/')}/invocations", {"Content-Type": "application/json"}
        try:
            with urllib.request.urlopen(urllib.request.Request(place, body, kind), timeout=self.seconds) as answer:
                return json.load(answer)["predictions"]
        except urllib.error.HTTPError as refusal:
            message = f"{self.address}: {_message(refusal)}"
            raise (Unreachable(message) if refusal.code >= 500 else InvalidInput(message)) from refusal
        except (OSError, ValueError, LookupError) as problem:
            raise Unreachable(f"{self.address} does not answer as a server of Fewstep does: {problem}") from problem


def _message(refusal: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(refusal)["message"])
    except (ValueError, LookupError, TypeError):
        return f"status {refusal.code}"
