"""An application on a real server."""

import threading
import time
from contextlib import ExitStack, contextmanager

import pytest
import uvicorn

from fewstep.serving.application import SERVER, Application
from fewstep.serving.batching import Pace
from fewstep.serving.generator import Generator


@contextmanager
def running(application: Application):
    """The port on loopback where an application is served."""
    server = uvicorn.Server(uvicorn.Config(application, port=0, **SERVER))
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        thread.join(20)


@pytest.fixture
def start():
    """A function that serves an application for as long as a test runs, and returns its port."""
    with ExitStack() as stack:
        yield lambda application: stack.enter_context(running(application))


@pytest.fixture
def serve(start, finished_model):
    """A function that serves a model, (most bytes of a body, pace) -> port."""

    def served(most_bytes: int, pace: Pace | None = None) -> int:
        generator = Generator().serve(finished_model(labels=True).load())
        generator.served.queue.pace = pace or generator.served.queue.pace
        return start(Application(generator.answer, most_bytes))

    return served
