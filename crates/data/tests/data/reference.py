"""Recomputes the row selections that tests expect, independently of the crate.

    python3 reference.py
"""
M = (1 << 64) - 1


class Rng:
    """splitmix64, as published by Steele, Lea and Flood (2014)."""

    def __init__(self, seed, purpose):
        self.s = purpose
        self.s = seed ^ self.next()

    def next(self):
        self.s = (self.s + 0x9E3779B97F4A7C15) & M
        z = self.s
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & M
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & M
        return z ^ (z >> 31)

    def shuffle(self, items):
        for last in range(len(items) - 1, 0, -1):
            j = (self.next() * (last + 1)) >> 64
            items[last], items[j] = items[j], items[last]


def purpose(name):
    return int.from_bytes(name.encode(), "big")


def sample(n, size, seed):
    rows = list(range(n))
    Rng(seed, purpose("sample")).shuffle(rows)
    return sorted(rows[:size])


def split(n, cuts, seed):
    rows = list(range(n))
    Rng(seed, purpose("split")).shuffle(rows)
    return sorted(rows[: cuts[0]]), sorted(rows[cuts[0] : cuts[1]]), sorted(rows[cuts[1] :])


if __name__ == "__main__":
    import zlib

    print("sample of 6 of 20, seed 42:", sample(20, 6, 42))
    print("split of 30 into 21, 3, 6, seed 42:", *split(30, (21, 24), 42), sep="\n  ")
    print("split of 30 into 21, 3, 6, seed 43:", *split(30, (21, 24), 43), sep="\n  ")
    keys = [f"user{i}" for i in range(24)] + ["", "Größe", "你好"]
    bounds = [0.7 * 2**32, (0.7 + 0.1) * 2**32]
    print("hash split:", [sum(zlib.crc32(k.encode()) >= b for b in bounds) for k in keys])
