"""Errors about arguments of a wrong type: without the suite's type checks, as a user of the library has it."""

import subprocess
import sys

CALLS = """
from lightning_edge.nn import DeepLab, DISFlow
from lightning_edge.systems import FixedInterval, VideoStream

for call in (lambda: DISFlow("slow"), lambda: VideoStream(DeepLab("resnet10t", 5)), lambda: FixedInterval(2.5)):
    try:
        call()
    except ValueError as error:
        print(error)
"""


def test_are_one_sentence_each():
    ended = subprocess.run([sys.executable, "-c", CALLS], capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines() == [
        "expected preset ultrafast, fast or medium, got 'slow'",
        "expected a video net, such as AccelNet or the net of Accel, got DeepLab",
        "expected interval as a whole number of frames from 1, got 2.5",
    ]
