"""A page in headless Chromium, by its DevTools protocol: what a person does, as a test does it."""

import base64
import json
import os
import shutil
import subprocess
import time
import urllib.request
from contextlib import ExitStack
from pathlib import Path

import pytest

from onestep.data.space import DataSpace
from onestep.training.model import Model, build_function

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
ALONE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # asks nothing beyond the machine
QUIET = ("--headless", "--no-sandbox", "--disable-dev-shm-usage", "--no-first-run", "--mute-audio")
CANVAS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")  # WebGL without a GPU: the editor paints by it


class Page:
    """`with Page(browser, folder, address) as page:`."""

    def __init__(self, browser: str, folder: Path, address: str):
        profile = folder / "profile"
        words = [browser, *QUIET, *CANVAS, ALONE, f"--user-data-dir={profile}", "--remote-debugging-port=0"]
        environment = {**os.environ, "HOME": str(folder)}
        with (folder / "browser.log").open("wb") as log:
            said = [*words, "--window-size=1300,1000", address]
            self.process = subprocess.Popen(said, env=environment, stdout=log, stderr=log)
        port = self._wait(lambda: (profile / "DevToolsActivePort").read_text().split()[0])
        targets = self._wait(lambda: json.load(urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list")))
        from websockets.sync.client import connect

        place = next(target["webSocketDebuggerUrl"] for target in targets if target["type"] == "page")
        self.stack, self.number = ExitStack(), 0
        self.socket = self.stack.enter_context(connect(place, max_size=None))

    def __enter__(self) -> "Page":
        return self

    def __exit__(self, *_) -> None:
        self.stack.close()
        self.process.terminate()
        self.process.wait(20)

    def send(self, method: str, **params) -> dict:
        self.number += 1
        self.socket.send(json.dumps({"id": self.number, "method": method, "params": params}))
        while (answer := json.loads(self.socket.recv(60))).get("id") != self.number:
            pass
        assert "error" not in answer, answer
        return answer["result"]

    def value(self, script: str):
        """Of an expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def wait(self, script: str):
        """The value of an expression, once it is true."""
        return self._wait(lambda: self.value(script) or 1 / 0)

    def click(self, x: float, y: float, *way: tuple[float, float]) -> None:
        """Press, move along the way, release."""
        self._mouse("mousePressed", x, y)
        for x, y in way:
            self._mouse("mouseMoved", x, y)
            time.sleep(0.05)
        self._mouse("mouseReleased", x, y)

    def picture(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.send("Page.captureScreenshot")["data"]))

    def _mouse(self, kind: str, x: float, y: float) -> None:
        self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", buttons=1, clickCount=1)

    def _wait(self, look, seconds: float = 60):
        end = time.monotonic() + seconds
        while True:
            try:
                return look()
            except (OSError, ArithmeticError, AssertionError, IndexError):
                if time.monotonic() > end:
                    raise
                time.sleep(0.2)


@pytest.fixture
def open_page(tmp_path):
    """A function that opens an address in a browser."""
    if not (browser := next(filter(None, map(shutil.which, BROWSERS)), None)):
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH")
    return lambda address: Page(browser, tmp_path, address)


@pytest.fixture
def make(tmp_path, randomised):
    """A small model of a name, with weights of a seed: a function of (name, seed, labels)."""

    def build(name, seed=0, labels=False):
        space = DataSpace("digits", "images", (1, 8, 8), 0.5, tuple("0123456789"))
        network = {"name": "unet", "channels": 16, "channel_mult": [1], "num_blocks": 1}
        spec = {"name": name, "network": network, "labels": labels, "levels": {}, "data_sha256": "d" * 64}
        spec |= {"preconditioning": {"name": "edm" if name == "teacher" else "consistency"}}
        spec |= {"provenance": {"teacher_sha256": None}}
        function = randomised(build_function(spec, space), seed, std=0.2)
        return Model(function, space, spec).save(tmp_path / f"{name}{seed}")

    return build
