"""Plays many seeds through, or one of them in words.

python -m tests.simulation --seeds 100000 --jobs 4
python -m tests.simulation --seed 4711 --trace
"""

import argparse
import logging
import sys
import time
from concurrent.futures import ProcessPoolExecutor

from tests.simulation.world import World

CHUNK = 200


def play(first: int, last: int) -> dict[int, list[str]]:
    """Play the seeds from *first* up to *last*; return what is wrong with which."""
    logging.getLogger("bridge").propagate = False
    wrong = {seed: World(seed).run() for seed in range(first, last)}
    return {seed: found for seed, found in wrong.items() if found}


def trace(seed: int) -> int:
    """Play one seed and tell all that happens."""
    world = World(seed, print)
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(logging.Formatter("           %(name)s: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    print(world.plan)
    wrong = world.run()
    for line in wrong:
        print(f"WRONG  {line}")
    return 1 if wrong else 0


def many(first: int, count: int, jobs: int) -> int:
    """Play *count* seeds, and tell which failed."""
    began, played, failed = time.monotonic(), 0, 0
    starts = range(first, first + count, CHUNK)
    ends = [min(start + CHUNK, first + count) for start in starts]
    with ProcessPoolExecutor(jobs) as pool:
        for end, wrong in zip(ends, pool.map(play, starts, ends), strict=True):
            played = end - first
            failed += len(wrong)
            for seed, found in wrong.items():
                print(f"seed {seed}: {'; '.join(found)[:500]}", flush=True)
            took = time.monotonic() - began
            print(f"{played} seeds, {failed} failed, {took:.0f} s", flush=True)
    print(f"{played} seeds played, {failed} failed")
    return 1 if failed else 0


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation")
    parser.add_argument("--seeds", type=int, default=1000, help="how many to play")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first")
    parser.add_argument("--jobs", type=int, default=1, help="processes to use")
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--trace", action="store_true", help="tell what happens")
    asked = parser.parse_args()
    if asked.seed is None:
        return many(asked.first, asked.seeds, asked.jobs)
    return trace(asked.seed) if asked.trace else many(asked.seed, 1, 1)


if __name__ == "__main__":
    sys.exit(main())
