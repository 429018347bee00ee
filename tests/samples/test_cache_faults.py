"""The cache of sample data: damage is repaired, mistakes of its folder are explained, and nothing works on alone."""

import logging
import os
import signal
import subprocess
import sys
import time
from multiprocessing import get_context
from pathlib import Path

import pytest

from lightning_edge.samples.cache import cache_root, make_once
from lightning_edge.samples.writing import run_jobs


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_two(folder):
    (folder / "deeper").mkdir()
    for name in ("a.png", "deeper/b.png"):
        (folder / name).write_bytes(b"pixels of " + name.encode())


def make(write=write_two):
    return make_once("tiny", 1, {}, write)


def content(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


DAMAGE = {
    "a file is lost": lambda folder: (folder / "deeper/b.png").unlink(),
    "a file is lost and another added": lambda folder: (folder / "a.png").rename(folder / "c.png"),
    "a file is cut": lambda folder: cut(folder / "a.png"),
    "a file is empty": lambda folder: (folder / "deeper/b.png").write_bytes(b""),
    "the list is lost": lambda folder: (folder / ".files.json").unlink(),
    "the list is empty": lambda folder: (folder / ".files.json").write_bytes(b""),
    "the list is of zeros": lambda folder: (folder / ".files.json").write_bytes(bytes(60)),
    "the list is of something else": lambda folder: (folder / ".files.json").write_text("2"),
    "it is of an earlier version": lambda folder: (folder / ".files.json").rename(folder / ".num_files"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_data_set_is_made_again(damage, cache, caplog):
    folder = make()
    whole = content(folder)
    DAMAGE[damage](folder)
    with caplog.at_level(logging.WARNING):
        assert make() == folder
    assert content(folder) == whole
    assert f"files are missing in {folder} or are damaged: they were generated" in caplog.text
    assert list(cache.iterdir()) == [folder]


def test_a_whole_data_set_is_left_alone(cache):
    folder = make()
    (folder / "Thumbs.db").touch()  # of a file manager
    assert make(lambda folder: pytest.fail("made again")) == folder


def use_again_and_again(root, rounds):
    """What several processes do at once: damage the data set, ask for it and read all of it."""
    os.environ["LIGHTNING_EDGE_CACHE"] = str(root)
    for number in range(rounds):
        folder = make()
        if number % 2 == os.getpid() % 2:
            (folder / "a.png").unlink(missing_ok=True)
        make()
    os._exit(0)


def test_processes_that_find_a_damaged_data_set_at_once_repair_it_without_an_error(cache):
    """Each may lose what another has damaged since, but none may fail."""
    spawn = get_context("fork")
    processes = [spawn.Process(target=use_again_and_again, args=(cache, 40)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0] * 4
    assert content(make()).keys() == {"a.png", "deeper/b.png", ".files.json"}
    assert [path.name for path in cache.iterdir()] == [make().name]


def test_a_complete_data_set_is_never_removed(cache, monkeypatch):
    """A process finds files missing, and another one repairs the data set before the first goes on."""
    folder = make()
    cut(folder / "a.png")
    identity = []

    class SlowLock:
        def __init__(self, path):
            self.lock_file = str(path)

        def __enter__(self):
            monkeypatch.undo()
            monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(cache))
            identity.append(make().stat().st_ino)

        def __exit__(self, *error):
            pass

    monkeypatch.setattr("lightning_edge.samples.cache.FileLock", SlowLock)
    assert make().stat().st_ino == identity[0]


def test_files_are_on_the_disk_before_the_data_set_is_in_its_place(cache, monkeypatch):
    synced = []
    real = os.fsync

    def fsync(descriptor):
        assert not any(path.name.startswith("tiny") for path in cache.iterdir())
        synced.append(os.fstat(descriptor).st_ino)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    folder = make()
    assert set(synced) == {path.stat().st_ino for path in folder.rglob("*") if path.is_file()}
    assert len(synced) == 3


def fail_with(error):
    def fail(folder):
        raise error

    return fail


@pytest.mark.parametrize("place", ["a file", "below a file", "a device"])
def test_a_cache_that_is_no_folder_is_explained(place, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    root = {"a file": tmp_path / "file", "below a file": tmp_path / "file/cache", "a device": Path("/dev/null")}[place]
    monkeypatch.setenv("LIGHTNING_EDGE_CACHE", str(root))
    with pytest.raises(OSError, match=f"^{root}: sample data cannot be kept there .* LIGHTNING_EDGE_CACHE to another"):
        make()


ERRORS = [OSError(28, "No space left on device"), PermissionError(13, "Permission denied"), OSError("could not write")]


@pytest.mark.parametrize("error", ERRORS, ids=str)
def test_errors_of_the_system_are_explained(error, cache):
    with pytest.raises(OSError, match=f"{cache}: sample data cannot be kept there .*{error.args[-1]}.*LIGHTNING_EDGE"):
        make(fail_with(error))
    assert not list(cache.iterdir())


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_of_another_user_is_explained(cache):
    cache.mkdir(mode=0o555)
    with pytest.raises(OSError, match=r"Permission denied.*LIGHTNING_EDGE_CACHE"):
        make()


def test_other_errors_are_left_as_they_are(cache):
    with pytest.raises(ValueError, match=r"^a bug$"):
        make(fail_with(ValueError("a bug")))


def test_a_user_without_a_home_is_told_of_the_variable(monkeypatch):
    monkeypatch.delenv("LIGHTNING_EDGE_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", lambda: (_ for _ in ()).throw(RuntimeError("Could not determine home directory")))
    with pytest.raises(OSError, match="set the environment variable LIGHTNING_EDGE_CACHE"):
        cache_root()


def fail_in_the_second_process(number):
    if number:
        raise OSError(28, "No space left on device")


def test_an_error_of_the_system_in_the_second_process_is_the_error():
    with pytest.raises(OSError, match="No space left on device"):
        run_jobs(fail_in_the_second_process, [number % 2 for number in range(12)], "numbers")


RUN = "import time; from lightning_edge.samples.writing import run_jobs; run_jobs(time.sleep, [30.0] * 12, 'naps')"


def children(pid):
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid):
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def wait_for(condition, limit_s=30):
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="needs Linux")
@pytest.mark.parametrize("moment", ["at its imports", "at work"])
def test_the_second_process_ends_with_a_killed_first_one(moment):
    first = subprocess.Popen([sys.executable, "-c", RUN])
    try:
        wait_for(lambda: children(first.pid))
        (second,) = children(first.pid)
        time.sleep(0.3)  # in which it is sent its jobs
        if moment == "at work":  # it has the thread that waits for the end of the first one
            wait_for(lambda: len(list(Path(f"/proc/{second}/task").iterdir())) > 1)
    finally:
        first.send_signal(signal.SIGKILL)
        first.wait()
    wait_for(lambda: not is_alive(second), limit_s=15)  # before its nap of 30 s is over
