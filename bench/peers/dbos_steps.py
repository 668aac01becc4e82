"""A DBOS workflow of trivial steps on SQLite, as its documentation writes one.

dbos_steps.py DATABASE STEPS: prints `steps=N seconds=S per_second=R`.
"""
import logging
import sys
import time

from dbos import DBOS, DBOSConfig

path, count = sys.argv[1], int(sys.argv[2])
config: DBOSConfig = {"name": "bench", "system_database_url": f"sqlite:///{path}", "run_admin_server": False, "log_level": "ERROR"}
DBOS(config=config)
logging.disable(logging.CRITICAL)


@DBOS.step()
def nothing() -> str:
    return "done"


@DBOS.workflow()
def chain(steps: int) -> int:
    for _ in range(steps):
        nothing()
    return steps


DBOS.launch()
chain(20)
start = time.perf_counter()
done = chain(count)
taken = time.perf_counter() - start
print(f"steps={done} seconds={taken} per_second={done / taken}")
DBOS.destroy()
