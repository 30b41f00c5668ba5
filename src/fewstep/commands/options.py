"""Options that several commands have."""

from typing import Any

import click


class NfeOption(click.Option):
    """`--nfe`, network evaluations per image. `--steps`, its name before, is taken too, and left out of the help."""

    def __init__(self, param_decls: Any = None, **attrs: Any):
        super().__init__(["--nfe", "--steps", "nfe"], **attrs)

    def get_help_record(self, ctx: click.Context) -> tuple[str, str] | None:
        """The help's line, without the old name."""
        record = super().get_help_record(ctx)
        return record and (record[0].replace(", --steps", ""), record[1])
