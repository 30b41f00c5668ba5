"""`python -m fewstep` is `fewstep`."""

from fewstep.cli import main

main(prog_name="python -m fewstep")
