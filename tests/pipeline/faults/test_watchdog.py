import os
import signal
import subprocess
import sys
import threading
import time

from pipeline.faults.watchdog import Watchdog
from tests.conftest import ROOT


def test_step_that_takes_too_long_is_told_of_once_and_a_quick_one_is_not():
    late: list[str] = []
    watchdog = Watchdog(tick_s=0.02)
    with watchdog.watching(0.1, lambda: late.append("slow")):
        with watchdog.watching(10, lambda: late.append("quick")):
            pass
        time.sleep(0.5)
    assert late == ["slow"]


def test_ticks_are_signs_of_life():
    ticks = threading.Semaphore(0)
    Watchdog(ticks.release, tick_s=0.01)
    assert all(ticks.acquire(timeout=5) for _ in range(3))


ASLEEP = """
import time
from pipeline.faults.watchdog import Watchdog
late = []
with Watchdog(tick_s=0.1).watching(2.0, lambda: late.append(1)):
    print("working", flush=True)
    time.sleep(1.0)
print(len(late), flush=True)
"""


def test_process_that_slept_has_lost_no_time():
    worker = subprocess.Popen([sys.executable, "-c", ASLEEP], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert worker.stdout
    assert worker.stdout.readline() == "working\n"
    os.kill(worker.pid, signal.SIGSTOP)
    time.sleep(3.0)
    os.kill(worker.pid, signal.SIGCONT)
    assert worker.communicate(timeout=30)[0] == "0\n"
