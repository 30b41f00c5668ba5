"""`python -m fewstep.evaluation.features digits` makes the extractor that ships with the package."""

import sys

from fewstep.evaluation.features.sources import ship_extractor

if __name__ == "__main__":
    ship_extractor(*sys.argv[1:])
