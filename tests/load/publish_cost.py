"""``python -m tests.load.publish_cost publisher|layer <redis url> <config>``: what a publish costs its publisher.

Plain and kept channels in turn, block by block, in one process: what the machine does meanwhile meets both. Prints one
JSON object: CPU and time of one publish in microseconds, and the medians of the blocks' ratios.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Final, NamedTuple

import uvloop

from clarion.layers import ClarionChannelLayer
from clarion.publications import publication
from clarion.publisher import Publisher

BLOCK: Final = 250
PAIRS: Final = 40
DATA: Final = {"text": "x" * 110, "n": 1}
PLAIN: Final = "bench:cost"
KEPT: Final = "kept:cost"


class Block(NamedTuple):
    """Microseconds of one publish."""

    cpu: float
    wall: float


def main() -> None:
    """Measure and print."""
    which, url, config = sys.argv[1:]
    if which == "publisher":
        pairs = _publisher_pairs(Publisher([url], config=config))
    else:
        pairs = uvloop.run(_layer_pairs(url, config))
    plain, kept = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    figures = {
        "plain_us": statistics.median(block.cpu for block in plain),
        "kept_us": statistics.median(block.cpu for block in kept),
        "ratio": statistics.median(b.cpu / a.cpu for a, b in pairs),
        "plain_wall_us": statistics.median(block.wall for block in plain),
        "kept_wall_us": statistics.median(block.wall for block in kept),
        "wall_ratio": statistics.median(b.wall / a.wall for a, b in pairs),
    }
    print(json.dumps(figures))


def _publisher_pairs(publisher: Publisher) -> list[tuple[Block, Block]]:
    def block(channel: str) -> Block:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(BLOCK):
            publisher.publish(channel, DATA)
        return _each(cpu, wall)

    block(PLAIN), block(KEPT)
    return [(block(PLAIN), block(KEPT)) for _ in range(PAIRS)]


async def _layer_pairs(url: str, config: str) -> list[tuple[Block, Block]]:
    layer = ClarionChannelLayer([url], config=config)

    async def block(channel: str) -> Block:
        wall, cpu = time.perf_counter(), time.process_time()
        for _ in range(BLOCK):
            await layer.group_send(channel, publication(DATA))
        return _each(cpu, wall)

    await block(PLAIN), await block(KEPT)
    pairs = [(await block(PLAIN), await block(KEPT)) for _ in range(PAIRS)]
    await layer.flush()
    return pairs


def _each(cpu_s: float, wall_s: float) -> Block:
    return Block((time.process_time() - cpu_s) / BLOCK * 1e6, (time.perf_counter() - wall_s) / BLOCK * 1e6)


if __name__ == "__main__":
    main()
