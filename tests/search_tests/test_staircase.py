import random

from pareconv.search.staircase import Staircase


def test_of_many_points_it_keeps_what_none_beats_and_finds_the_best_at_any_cost():
    for seed in range(30):
        chance = random.Random(seed)
        points = [(chance.randint(0, 9), chance.randint(0, 9), n) for n in range(25)]
        stairs = Staircase()
        for cost, value, n in points:
            stairs.put(cost, value, n)
        for most in range(-1, 11):
            within = [point for point in points if point[0] <= most]
            best = max((value for _, value, _ in within), default=None)
            found = stairs.best(most)
            assert (None if found is None else points[found][1]) == best
        kept = [points[n] for n in stairs.items()]
        for cost, value, n in points:
            rivals = [p for p in points if p[0] <= cost and p[1] >= value and p[2] != n]
            is_beaten = any(p[:2] != (cost, value) or p[2] < n for p in rivals)
            assert ((cost, value, n) in kept) == (not is_beaten)
        assert kept == sorted(kept)
