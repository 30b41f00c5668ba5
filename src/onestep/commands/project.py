"""The project of the working folder, as Kedro has it."""

import os
from pathlib import Path


def catalogs_of(env: str | None, recipe: str | None) -> list:
    """The catalog of each recipe, or of the one that was asked for."""
    recipes = [recipe] if recipe else context_of(env).config_loader.recipes()
    return [context_of(env, name).catalog for name in recipes]


def context_of(env: str | None, recipe: str | None = None):
    """Kedro's context, of the configured recipe if none is named."""
    from kedro.framework.session import KedroSession
    from kedro.framework.startup import bootstrap_project

    if not Path("pyproject.toml").exists():
        raise ValueError(f"{Path.cwd()} is no project: go to its folder.")
    bootstrap_project(Path.cwd())

    with KedroSession.create(Path.cwd(), env=env, runtime_params={"recipe": recipe} if recipe else {}) as session:
        return session.load_context()


def place_of(catalog, name: str) -> Path:
    """Where a dataset lies, from here."""
    return Path(os.path.relpath(catalog.get(name)._filepath))
