"""Every place of the undisturbed recoveries is died at: alone, or (in CI) with others on the way of one recovery."""
import sys
import time
from collections import Counter

from .lab import Deviation
from .recovery import recover, undisturbed

class Matrix:
    def __init__(self, scene, options):
        self.scene, self.options, self.began = scene, options, time.monotonic()
        # By (program's name, place): same, DEVIATES or unreached.
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
            died_at = recover(self.scene, program, expected, f"{program.name} {deadly[0]}", set(deadly))
            result, places, why = "same", died_at, ""
            if len(deadly) == 1 and not died_at:
                result, places, why = "unreached", deadly, "it did not come by"
        except Deviation as deviation:
            result, places, why = "DEVIATES", deadly, str(deviation)
            self.deviations.append(f"{program.name}, {', '.join(deadly)}: {why}")
        for place in places:
            self.results[program.name, place] = result
        name = deadly[0] if len(deadly) == 1 else f"{deadly[0]} and {len(deadly) - 1} more"
        print(f"{name:68} {result:9} {len(places):>5} {time.monotonic() - start:8.1f}  {why}", flush=True)

    def visit_all(self, program, expected, places):
        print(f"\n{'killed at':68} {'result':9} {'kills':>5} {'seconds':>8}", flush=True)
        # A kill may take another place off the way of its recovery: what is left is tried with fewer others, then alone.
        for kills in (self.scene.KILLS_IN_CI, 4, 1, 1, 1) if self.options.ci else (1,):
            left = [place for place in places if self.results.get((program.name, place), "unreached") == "unreached"]
            recoveries = -(-len(left) // kills)
            for first in range(recoveries):
                if not self.has_time():
                    return
                self.visit(program, expected, left[first::recoveries])

    def summary(self, wanted):
        """Prints it. True if every wanted place was died at and nothing deviates."""
        covered = [key for key in wanted if self.results.get(key) == "same"]
        print(f"\n{'place':24} covered")
        names = Counter(place.split(" ")[0] for _, place in wanted)
        seen = Counter(place.split(" ")[0] for _, place in covered)
        for name, count in sorted(names.items()):
            print(f"{name:24} {seen[name]:3} of {count}")
        print(f"\ncovered {len(covered)} of {len(wanted)} boundaries; {len(self.deviations)} recoveries deviate; {self.seconds():.0f} s")
        for key in wanted:
            if self.results.get(key) == "unreached":
                print(f"never reached: {key[1]} ({key[0]})")
            elif key not in self.results:
                print(f"left out after {self.options.budget:g} minutes: {key[1]} ({key[0]})")
        for deviation in self.deviations:
            print(f"deviates: {deviation}")
        return len(covered) == len(wanted) and not self.deviations


def matrix(scene, options, folder):
    run, work, wanted = Matrix(scene, options), [], []
    for program in scene.programs(options.binary, folder):
        start = time.monotonic()
        expected, places = undisturbed(scene, program)
        # What both programs pass is visited once.
        new = [place for place in places if place not in {known for _, known in wanted}]
        print(f"undisturbed, {program.name}: {len(places)} boundaries, {len(new)} of them new; {time.monotonic() - start:.1f} s", flush=True)
        wanted += [(program.name, place) for place in new]
        work.append((program, expected, new))
    if options.only:
        wanted = [key for key in wanted if options.only in (key[1], key[1].split(" ")[0])]
        if not wanted:
            sys.exit(f"error: no boundary is named {options.only}; there are:\n" + "\n".join(place for _, _, new in work for place in new))
    for program, expected, new in work:
        run.visit_all(program, expected, [place for place in new if (program.name, place) in wanted])
    return run.summary(wanted)
