import threading
import time

from pipeline.worker.budget import ByteBudget


def test_budget_is_never_exceeded_and_all_get_their_turn():
    budget, lock = ByteBudget(100, slots=100), threading.Lock()
    in_use, highest, turns = 0, 0, []

    def work(wanted: int) -> None:
        nonlocal in_use, highest
        taken = budget.reserve(wanted)
        with lock:
            in_use += taken
            highest = max(highest, in_use)
        time.sleep(0.005)
        with lock:
            in_use -= taken
            turns.append(wanted)
        budget.release(taken)

    wanted = [30, 70, 10, 500, 100, 60] * 5  # 500 is more than there is: it gets everything, alone
    threads = [threading.Thread(target=work, args=(amount,)) for amount in wanted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=20)
    assert sorted(turns) == sorted(wanted)
    assert highest <= 100


def test_large_request_is_not_overtaken_for_ever():
    budget, order = ByteBudget(100, slots=100), []

    def work(name: str, wanted: int) -> None:
        taken = budget.reserve(wanted)
        order.append(name)
        budget.release(taken)

    held = budget.reserve(10)
    threads = []
    for name, wanted in (("large", 100), ("small", 10)):
        threads.append(threading.Thread(target=work, args=(name, wanted)))
        threads[-1].start()
        time.sleep(0.1)
    assert order == []
    budget.release(held)
    for thread in threads:
        thread.join(timeout=20)
    assert order == ["large", "small"]


def test_no_more_than_the_slots_hold_a_part():
    budget = ByteBudget(100, slots=4)
    taken = [budget.reserve(1) for _ in range(4)]
    assert taken == [25] * 4
    late = threading.Thread(target=budget.reserve, args=(1,), daemon=True)
    late.start()
    late.join(timeout=0.1)
    assert late.is_alive()
    budget.release(taken[0])
    late.join(timeout=10)
    assert not late.is_alive()
