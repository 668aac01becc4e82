"""Every place of the undisturbed recoveries is died at: alone, or (in CI) with others on the way of one recovery."""
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

from .lab import Deviation
from .recovery import recover, undisturbed

class Matrix:
    def __init__(self, scene, options):
        self.scene, self.options, self.began = scene, options, time.monotonic()
        # By place, which one program visits: same, DEVIATES or unreached.
        self.results = {}
        self.deviations = []

    def seconds(self):
        return time.monotonic() - self.began

    def has_time(self):
        return not self.options.budget or self.seconds() < self.options.budget * 60

    def visit(self, program, expected, deadly):
        """One recovery; what it did not die at stays to be visited."""
        start = time.monotonic()
        try:
            died_at = recover(self.scene, program, expected, deadly[0], set(deadly))
            result, places, why = "same", died_at, ""
            if len(deadly) == 1 and not died_at:
                result, places, why = "unreached", deadly, "it did not come by"
        except Deviation as deviation:
            result, places, why = "DEVIATES", deadly, str(deviation)
            those = ", ".join(deadly[:30]) + (f" and {len(deadly) - 30} more" if len(deadly) > 30 else "")
            self.deviations.append(f"{program.name}, {those}: {why}")
        for place in places:
            self.results[place] = result
        name = deadly[0] if len(deadly) == 1 else f"{deadly[0]} and {len(deadly) - 1} more ({program.name})"
        print(f"{name:68} {result:9} {len(places):>5} {time.monotonic() - start:8.1f}  {why}", flush=True)

    def visit_all(self, program, expected, places):
        # A kill may take another place off the way of its recovery: what is left is tried with fewer others, then alone.
        for kills in (self.scene.KILLS_IN_CI, 4, 1, 1, 1) if self.options.ci else (1,):
            left = [place for place in places if self.results.get(place, "unreached") == "unreached"]
            recoveries = -(-len(left) // kills)
            for first in range(recoveries):
                if not self.has_time():
                    return
                self.visit(program, expected, left[first::recoveries])

    def visit_side_by_side(self, programs, expected, places):
        """One recovery of each host, all at once; neighbouring places are spread over them."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(lambda dealt: self.visit(dealt[1], expected, places[dealt[0]::len(programs)]), enumerate(programs)))
        for place in places:
            self.results.setdefault(place, "unreached")

    def summary(self, wanted, enough=1.0):
        """Prints it. True if that share of the wanted places was died at and nothing deviates.

        - wanted: places, with the program that passes each.
        """
        covered = [place for place in wanted if self.results.get(place) == "same"]
        print(f"\n{'place':24} covered")
        names = Counter(place.split(" ")[0] for place in wanted)
        seen = Counter(place.split(" ")[0] for place in covered)
        for name, count in sorted(names.items()):
            print(f"{name:24} {seen[name]:3} of {count}")
        print(f"\ncovered {len(covered)} of {len(wanted)} boundaries; {len(self.deviations)} recoveries deviate; {self.seconds():.0f} s")
        for place, program in wanted.items():
            if self.results.get(place) == "unreached":
                print(f"never reached: {place} ({program.name})")
            elif place not in self.results:
                print(f"left out after {self.options.budget:g} minutes: {place} ({program.name})")
        for deviation in self.deviations:
            print(f"deviates: {deviation}")
        if len(covered) < enough * len(wanted):
            print(f"too few places were died at: {enough:.0%} of them must be")
        return len(covered) >= enough * len(wanted) and not self.deviations


def matrix(scene, options, folder):
    run, programs, expected, wanted = Matrix(scene, options), scene.programs(options.binary, folder), {}, {}
    # Hosts that are recovered side by side pass the same places.
    for program in programs[:1] if scene.SIDE_BY_SIDE else programs:
        start = time.monotonic()
        expected[program], places = undisturbed(scene, program)
        # What both programs pass is visited once.
        new = [place for place in places if place not in wanted]
        print(f"undisturbed, {program.name}: {len(places)} boundaries, {len(new)} of them new; {time.monotonic() - start:.1f} s", flush=True)
        wanted |= dict.fromkeys(new, program)
    if options.only:
        there = list(wanted)
        wanted = {place: program for place, program in wanted.items() if options.only in (place, place.split(" ")[0])}
        if not wanted:
            sys.exit(f"error: no boundary is named {options.only}; there are:\n" + "\n".join(there))
    if options.ci and scene.SIDE_BY_SIDE:
        there = len(wanted)
        wanted = {place: program for place, program in wanted.items() if not scene.LEFT_OUT_IN_CI.match(place)}
        print(f"left out in CI: {there - len(wanted)} boundaries like others")
    print(f"\n{'killed at':68} {'result':9} {'kills':>5} {'seconds':>8}", flush=True)
    if options.ci and scene.SIDE_BY_SIDE:
        run.visit_side_by_side(programs, expected[programs[0]], list(wanted))
        return run.summary(wanted, scene.ENOUGH_IN_CI)
    for program in expected:
        run.visit_all(program, expected[program], [place for place in wanted if wanted[place] is program])
    return run.summary(wanted)
