"""What serving costs beside the network: one image by one step, warm, and many callers at once.

    python benchmarks/serving.py --model data/06_models/digits/cd [--rounds 300] [--callers 16]

The model is packaged as the registry does and served as `mlflow models serve` does. Printed: medians of a bare
forward, of `Model.sample`, of the generator in Python, of a request over a kept connection; images a second of many.
The status is 1 where a request takes more than it should.
"""

import argparse
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from bounds import Bounds

from fewstep.models.model import Model, SavedModel
from fewstep.registry.package import write_package

FORWARDS = 3  # the most that a request should take
BODY = json.dumps({"inputs": [{"num_images": 1, "nfe": 1, "seed": 1}]})


def median(call, rounds: int) -> float:
    """Seconds of a call, after some that warm it up."""
    times = []
    for number in range(rounds + 20):
        started = time.perf_counter()
        call()
        if number >= 20:
            times.append(time.perf_counter() - started)
    return statistics.median(times)


def forward_of(model: Model):
    x, sigma = torch.randn(1, *model.space.shape), torch.tensor([80.0])
    labels = torch.zeros(1, len(model.space.classes)) if model.spec.labels else None

    @torch.inference_mode()
    def forward():
        model.function(x, sigma, labels)

    return forward


class Server:
    """The package behind MLflow's scoring server."""

    def __init__(self, package: Path, log: Path):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(package), "--env-manager", "local"]
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        with log.open("wb") as said:
            words = [*command, "--port", str(self.port)]
            environment = {**os.environ, "PATH": path}
            self.process = subprocess.Popen(words, env=environment, stdout=said, stderr=said, start_new_session=True)
        while socket.socket().connect_ex(("127.0.0.1", self.port)):
            if self.process.poll() is not None:
                raise RuntimeError(log.read_text())
            time.sleep(0.5)

    def caller(self):
        """A function that asks for one image, by a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)

        def ask():
            connection.request("POST", "/invocations", BODY, {"content-type": "application/json"})
            answer = connection.getresponse()
            assert answer.status == 200, answer.read()
            answer.read()

        return ask

    def stop(self) -> None:
        os.killpg(self.process.pid, signal.SIGTERM)
        self.process.wait(20)


def crowd(server: Server, callers: int, requests: int) -> float:
    """Images a second of callers that each ask again when they are answered."""

    def one():
        ask = server.caller()
        for _ in range(requests // callers):
            ask()

    started = time.perf_counter()
    with ThreadPoolExecutor(callers) as pool:
        for done in [pool.submit(one) for _ in range(callers)]:
            done.result()
    return requests // callers * callers / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="data/06_models/digits/cd", help="a finished model's folder")
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--callers", type=int, default=16)
    options = parser.parse_args()
    saved, bounds = SavedModel.open(options.model), Bounds()
    model = saved.load()
    from mlflow import pyfunc

    with tempfile.TemporaryDirectory() as temporary:
        write_package(saved, Path(temporary))
        package = Path(temporary) / "pyfunc"
        generator = pyfunc.load_model(str(package))
        server = Server(package, Path(temporary) / "server.log")
        try:
            bare = median(forward_of(model), options.rounds)
            ways = {
                "Model.sample": lambda: model.sample(nfe=1, seed=1, indices=range(1)),
                "generator in Python": lambda: generator.predict([{"num_images": 1, "nfe": 1, "seed": 1}]),
                "request": server.caller(),
            }
            print(f"{'bare forward':20} {1000 * bare:7.2f} ms")
            for name, call in ways.items():
                taken = median(call, options.rounds)
                print(f"{name:20} {1000 * taken:7.2f} ms, {taken / bare:.2f} forwards", flush=True)
            bounds.at_most(f"bare forwards of a {name}", taken / bare, FORWARDS)
            served = crowd(server, options.callers, 4 * options.rounds)
            print(f"{options.callers} callers           {served:7.0f} images/s; batches of {size_of(generator)}")
        finally:
            server.stop()
    bounds.settle()


def size_of(generator) -> int:
    return generator.unwrap_python_model().served.queue.pace.size


if __name__ == "__main__":
    main()
