"""What machine, disk and data can do to a run, done to it: ``python -m tests.faults`` does it all.

Each part makes cases, does one thing to a run in each, and judges what is left: whether a finished scan was lost,
whether a scan is wrong, whether anything went without a word, and whether the next run went on by itself.
"""
