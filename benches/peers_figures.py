"""What the other parts of the peer print their figures with."""


def figure(name, value, unit):
    print(name, value, unit)


def percentile(times, percent):
    """In microseconds."""
    return sorted(times)[min(len(times) * percent // 100, len(times) - 1)] * 1e6
