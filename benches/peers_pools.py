"""C, D, B2: Python's pools. VARIANT is `pool-fork`, `pool-forkserver`, `pool-spawn` or `futures`."""

import multiprocessing
import time
from concurrent.futures import ProcessPoolExecutor

from peers_figures import figure, percentile

WORKERS = 2
FRESH = 3


def square(x):
    return x * x & 0xFFFF_FFFF_FFFF_FFFF


def nap(millis):
    time.sleep(millis / 1000)


def run(work, variant, count):
    kind, _, method = variant.partition("-")
    context = multiprocessing.get_context(method or "fork")
    fresh = work == "B2"
    workers = FRESH if fresh else WORKERS
    if kind == "futures":
        pool = ProcessPoolExecutor(workers, mp_context=context)
        chunk = {"C1": max(count // (4 * workers), 1)}.get(work, 1)

        def apply(function, value):
            return pool.submit(function, value).result()

        def mapped(function, values):
            return list(pool.map(function, values, chunksize=chunk))

    else:
        pool = context.Pool(workers, maxtasksperchild=1 if fresh else None)
        chunk = None if work == "C1" else 1
        apply = lambda function, value: pool.apply(function, (value,))

        def mapped(function, values):
            return pool.map(function, values, chunk)

    if work in ("C1", "C2", "B2"):
        if not fresh:
            mapped(square, range(count))
        begin = time.perf_counter()
        squares = mapped(square, range(count))
        seconds = time.perf_counter() - begin
        assert squares[-1] == square(count - 1)
        figure(work, count / seconds, "/s")
    elif work in ("C3", "C4"):
        naps = [10 if work == "C3" else 1] * count
        if work == "C4":
            naps[count // 2] = 100
        mapped(nap, [1] * workers)
        ideal = max(sum(naps) / workers, max(naps)) / 1000
        begin = time.perf_counter()
        mapped(nap, naps)
        figure(work, ideal / (time.perf_counter() - begin), "")
    else:
        times = []
        for x in range(count + count // 10):
            if work == "D3":
                time.sleep(0.001)
            begin = time.perf_counter()
            assert apply(square, x) == square(x)
            times.append(time.perf_counter() - begin)
        times = times[count // 10 :]
        figure(work, percentile(times, 50), "us")
        figure("p99", percentile(times, 99), "us")
    if kind == "futures":
        pool.shutdown()
    else:
        pool.terminate()
