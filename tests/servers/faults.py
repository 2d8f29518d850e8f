"""Which requests fail, and how: drawn from a seed, one range four times in a row at most."""

import random
import threading
from collections import Counter
from dataclasses import dataclass, field

KINDS = ("500", "429", "reset", "slow", "truncated", "expired")
"""Server error, too many requests, connection reset, a body that stalls, half a body, a token that
ceases to be valid."""

IN_A_ROW = 4
"""Times that the same range of a file fails one after another at most."""


@dataclass
class Faults:
    """A plan of failing, shared by the threads of a server."""

    share: float = 0.3
    """Of requests that fail."""

    kinds: tuple[str, ...] = KINDS[:5]
    seed: int = 0
    stall_s: float = 1.5
    """How long a slow body stalls; longer than the reader waits for it."""

    in_all: float = float("inf")
    """Times that the same range of a file fails in all."""

    injected: Counter = field(default_factory=Counter)
    longest: int = 0
    """Most faults in a row that one range met."""

    def __post_init__(self):
        self._lock = threading.Lock()
        self._row = Counter()
        self._all = Counter()
        self._seen = Counter()

    def draw(self, key):
        """Return how a request fails, None if it does not.

        Drawn anew for each request of the same key, whatever is asked beside it.
        """
        with self._lock:
            self._seen[key] += 1
            chance = random.Random(f"{self.seed} {key} {self._seen[key]}")
            fails = chance.random() < self.share
            fails = fails and self._row[key] < IN_A_ROW and self._all[key] < self.in_all
            kind = chance.choice(self.kinds) if fails else None
            self._row[key] = self._row[key] + 1 if fails else 0
            self.longest = max(self.longest, self._row[key])
            if kind:
                self.injected[kind] += 1
                self._all[key] += 1
            return kind
