"""Write golden files anew: python tests/goldens/write.py [part ...]; refuses where an integer must be raised first."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numbers_of_parts as now
from golden import Golden


def golden_of(part: str, folder: Path = Path(__file__).parent) -> Golden:
    """The golden file of a part of this project."""
    specs = now.recipes_of_conf().get(part, {})
    return Golden(part, folder, now.PARTS, now.version_of, now.place_of, now.compute, specs)


if __name__ == "__main__":
    for name in sys.argv[1:] or now.PARTS:
        if name not in now.PARTS:
            sys.exit(f"there is no part {name}: {', '.join(now.PARTS)}")
        try:
            print(golden_of(name).write())
        except ValueError as problem:
            sys.exit(str(problem))
