import threading

from pipeline.worker.threads import CpuPool, Urgency


def test_what_is_begun_is_finished_first():
    pool, gate, done, order = CpuPool(1), threading.Event(), threading.Event(), []
    pool.submit(Urgency.BEGIN, gate.wait)
    pool.submit(Urgency.BEGIN, lambda: order.append("begin 1"))
    pool.submit(Urgency.BEGIN, lambda: order.append("begin 2"))
    pool.submit(Urgency.FINISH, lambda: order.append("finish 1"))
    pool.submit(Urgency.FINISH, lambda: order.append("finish 2"))
    pool.submit(Urgency.BEGIN, done.set)
    gate.set()
    assert done.wait(10)
    assert order == ["finish 1", "finish 2", "begin 1", "begin 2"]
