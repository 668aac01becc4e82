"""One recovery, with kills on its way."""
import shutil

from .lab import Deviation
from .program import KILLED
from .witnesses import Witnesses, compare, expect_sound, final_state


def undisturbed(scene, program):
    """The final state, and every place that the recovery passes, in order."""
    journal, log = program.new_journal("undisturbed"), program.file("places")
    log.unlink(missing_ok=True)
    before, witnesses = scene.fresh(program), Witnesses(scene, program)
    drive(scene, program, journal, witnesses, log, program.file("nowhere"), set())
    state = final_state(scene, program, journal, before) | witnesses.counts()
    expect_sound(scene, program, state)
    return state, program.passes(log)


def recover(scene, program, expected, name, deadly, **environment):
    """A recovery that is killed at each of the places in `deadly`, if it comes by, and taken up again each time.

    Returns the places at which it was killed. Throws Deviation where it does not end as the undisturbed one.
    """
    journal, log = program.new_journal(name), program.file("log")
    log.unlink(missing_ok=True)
    before, witnesses = scene.fresh(program), Witnesses(scene, program)
    died_at = drive(scene, program, journal, witnesses, log, program.file("deadly"), deadly, **environment)
    compare(scene, expected, final_state(scene, program, journal, before) | witnesses.counts(), died_at)
    shutil.rmtree(journal.parent)
    return died_at


def drive(scene, program, journal, witnesses, log, deadly_file, deadly, **environment):
    """Starts, and takes up again after each kill, until the run has ended well; then undoes it, where that is asked for."""
    died_at, arguments = [], program.start
    while True:
        deadly_file.write_text("".join(f"{place}\n" for place in deadly if place not in died_at))
        code = program.call(arguments, journal, REPRISE_FAILPOINT_LOG=str(log), REPRISE_FAILPOINT_KILL=str(deadly_file), **environment)
        if code == 0 and not program.undoes:
            return died_at
        if code == 0:
            scene.expect_merged()
            arguments = program.undo
            continue
        # An undone run did not reach what it was started for, and says so by its exit status.
        if code == 1 and program.undoes and program.status(journal)["state"] == "UNDONE":
            return died_at
        place = program.died_at(log) if code == KILLED else None
        where = f" (killed before at {died_at[-1]})" if died_at else ""
        if code == 5 and program.approves and arguments[0] != "approve":
            arguments = program.approve
        elif place is None or place not in deadly or place in died_at:
            raise Deviation(f"`{arguments[0]}` ended with {code}{where}: {program.tail(journal)}")
        else:
            died_at.append(place)
            has_run = expect_claims_to_be_true(scene, program, journal, witnesses, died_at)
            scene.meanwhile()
            # Where nothing was accepted there is nothing to resume, and starting again is right.
            arguments = ["resume"] if has_run else program.start


def expect_claims_to_be_true(scene, program, journal, witnesses, died_at):
    """What the journal calls done at the moment of a kill has happened. Returns whether there is a run."""
    events = program.events(journal)
    counts = witnesses.counts()
    for kind, step in events:
        if kind == "attempt-succeeded" and step in scene.PROOFS and counts[scene.PROOFS[step]] < 1:
            raise Deviation(f"killed at {died_at[-1]}, the journal calls {step} done; {scene.PROOFS[step]}: {counts[scene.PROOFS[step]]}")
    return bool(events)
