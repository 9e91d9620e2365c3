"""What holds for all tests."""

from hypothesis import settings

settings.register_profile(
    "unhurried", deadline=None
)  # no test is timed: machines are shared, and a load waits for disks
settings.load_profile("unhurried")
