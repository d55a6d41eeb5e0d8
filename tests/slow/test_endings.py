"""Ends that take their time: SIGKILL, real signals into a hanging end, crowds of forks."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest

from tests.support.scripts import Disk, finished, line_of, run_script, start_script

pytestmark = pytest.mark.slow

HANGING = """
from clearml_taskgroup._storage import offline as store

wait = threading.Event()

def hang(path, data, **options):
    os.write(1, b"hangs\\n")
    wait.wait()
"""
TELLING = """
from clearml_taskgroup._run import closing, signals as _signals

close, add = closing.close_run, _signals.Interrupts.add

def tell_closing(run, *options):
    os.write(1, b"closing\\n")
    return close(run, *options)

def tell_noted(interrupts, interrupt):
    add(interrupts, interrupt)
    os.write(1, b"noted\\n")

closing.close_run, _signals.Interrupts.add = tell_closing, tell_noted
"""


def test_a_sigkill_keeps_what_was_reported_a_second_before(tmp_path: Path) -> None:
    """What was handed over 1 s before a SIGKILL is on disk, with the ends of finished tasks."""
    process = start_script(
        """
        import time
        with offline() as group:
            with group.task({"seed": 0}) as done:
                done.report({"loss": 0.5}, 1)
            tasks = group.tasks({"seed": range(1, 101)})
            for iteration in range(20):
                for task in tasks:
                    task.report({"loss": float(iteration)}, iteration)
            time.sleep(1)  # the second that the design speaks of
            print("ready", flush=True)
            sys.stdin.read()
        """,
        tmp_path,
    )
    assert line_of(process) == "ready"
    process.kill()
    outcome = finished(process, tmp_path)
    assert outcome.code == -signal.SIGKILL
    assert outcome.ends() == {"seed=0": ("completed", "")}
    assert sum(line["event"] == "task" for line in outcome.record()) == 101
    sessions = outcome.sessions
    for seed in range(1, 101):
        found = sessions[f"the group seed={seed}"].scalars
        assert found == [("loss", "value", iteration, float(iteration)) for iteration in range(20)]


def test_a_sigkill_in_the_middle_of_writing_leaves_whole_lines(tmp_path: Path) -> None:
    """Killed while it writes as fast as it can, a run leaves sessions and a record that can be read."""
    process = start_script(
        """
        with offline() as group:
            tasks = group.tasks({"seed": range(10)})
            for iteration in range(10_000_000):
                for task in tasks:
                    task.report({"loss": float(iteration)}, iteration)
                if iteration == 20_000:
                    print("ready", flush=True)
        """,
        tmp_path,
    )
    assert line_of(process) == "ready"
    process.kill()
    outcome = finished(process, tmp_path)
    assert outcome.code == -signal.SIGKILL
    sessions = outcome.sessions
    assert len(sessions) == 11
    for name, session in sessions.items():
        iterations = [iteration for _, _, iteration, _ in session.scalars]
        assert iterations == list(range(len(iterations)))
        assert name == "the group" or iterations


def test_two_real_ctrl_c_give_a_hanging_end_up(tmp_path: Path) -> None:
    """The first Ctrl-C waits for delivery, the second gives it up; what is missing is named."""
    process = start_script(
        HANGING
        + TELLING
        + """
group = offline(close_timeout=600).open()
done, task = group.tasks({"seed": [0, 1]})
with done:
    done.report({"loss": 0.5}, 1)
store.append_to = hang
task.report({"loss": 1.5}, 1)
group.close()
""",
        tmp_path,
    )
    assert {line_of(process), line_of(process)} == {"hangs", "closing"}
    process.send_signal(signal.SIGINT)
    assert line_of(process) == "noted"
    process.send_signal(signal.SIGINT)
    outcome = finished(process, tmp_path)
    assert outcome.code == -signal.SIGINT
    assert "KeyboardInterrupt" in outcome.err
    assert re.search(r"1 points? of 1 tasks? \(seed=1\).*delivered", outcome.err)
    assert outcome.ends()["seed=0"] == ("completed", "")
    assert set(outcome.ends()) == {"seed=0", "seed=1", "run"}


def test_a_hanging_disk_ends_a_script_in_the_time_that_it_was_given(tmp_path: Path) -> None:
    """`close_timeout` bounds the end of a block whose disk hangs, and names what is missing."""
    outcome = run_script(
        HANGING
        + """
store.append_to = hang
with offline(close_timeout=0.5) as group:
    group.task({"seed": 0}).report({"loss": 1.5}, 1)
""",
        tmp_path,
        timeout=30,
    )
    assert outcome.code == 1
    assert re.search(
        r"1 points? of 1 tasks? \(seed=0\).*delivered: the time for closing ran out", outcome.err
    )
    assert outcome.ends() == {"seed=0": ("completed", ""), "run": ("completed", "")}


def test_sigterm_while_a_block_waits_for_delivery_ends_with_143(tmp_path: Path) -> None:
    """SIGTERM in the middle of closing waits for delivery, a second one gives it up: 143, all ended."""
    process = start_script(
        HANGING
        + TELLING
        + """
store.append_to = hang
with offline(close_timeout=600) as group:
    group.task({"seed": 0}).report({"loss": 1.5}, 1)
""",
        tmp_path,
    )
    assert {line_of(process), line_of(process)} == {"hangs", "closing"}
    process.send_signal(signal.SIGTERM)
    assert line_of(process) == "noted"
    process.send_signal(signal.SIGTERM)
    outcome = finished(process, tmp_path)
    assert outcome.code == 143
    assert outcome.ends() == {"seed=0": ("completed", ""), "run": ("completed", "")}


INIT = """
from clearml import Task
Task.set_offline(True)
Task.init("the project", "the script", auto_connect_frameworks=False)
"""


def test_a_group_that_is_open_at_the_end_of_a_script_with_task_init_stops_its_tasks(tmp_path: Path) -> None:
    """Beside a main task, which ClearML ends by itself, the open tasks end with all their data."""
    outcome = run_script(
        INIT
        + """
task = offline().open().task({"seed": 0})
task.report({"loss": 1.5}, 1)
task.logger.report_scalar("title", "series", iteration=1, value=2.5)
""",
        tmp_path,
        options=["-W", "ignore::UserWarning"],
    )
    assert outcome.code == 0, outcome.err
    assert {status for status, _ in outcome.ends().values()} == {"stopped"}
    assert sorted(outcome.sessions["the group seed=0"].scalars) == [
        ("loss", "value", 1, 1.5),
        ("title", "series", 1, 2.5),
    ]


def test_sigterm_after_a_task_init_inside_the_block_is_not_swallowed(tmp_path: Path) -> None:
    """`Task.init` after the group was opened puts its handler over ours; the block still ends."""
    outcome = run_script(
        "with offline() as group, group.task({'seed': 0}) as task:\n"
        + "".join(f"    {line}\n" for line in INIT.strip().splitlines())
        + """
    task.report({"loss": 1.5}, 1)
    os.kill(os.getpid(), signal.SIGTERM)
    print("survived")
""",
        tmp_path,
    )
    assert outcome.code == 143, outcome.err
    assert "survived" not in outcome.out
    assert {status for status, _ in outcome.ends().values()} == {"stopped"}
    assert outcome.sessions["the group seed=0"].scalars == [("loss", "value", 1, 1.5)]


def test_many_forks_among_many_threads_lose_nothing(tmp_path: Path) -> None:
    """Twenty children, forked while threads report, deliver all their points once."""
    outcome = run_script(
        """
        with offline() as group:
            tasks = group.tasks({"seed": range(8)})
            stop = threading.Event()

            def work(task):
                iteration = 0
                while not stop.is_set() or iteration < 100:
                    task.report({"loss": 1.0}, iteration)
                    iteration += 1
                    if iteration % 100 == 0:
                        task.flush()
                counts[task.params["seed"]] = iteration

            counts = {}
            threads = [threading.Thread(target=work, args=(task,)) for task in tasks[:3]]
            for thread in threads:
                thread.start()
            for number in range(20):
                child = os.fork()
                if not child:
                    for iteration in range(25 * number, 25 * number + 25):
                        tasks[3 + number % 5].report({"loss": 1.0}, iteration)
                    if number % 2:
                        os._exit(0)
                    sys.exit(0)
                assert os.waitpid(child, 0)[1] == 0
            stop.set()
            for thread in threads:
                thread.join()
        print([counts[seed] for seed in range(3)])
        """,
        tmp_path,
        options=["-W", "ignore::DeprecationWarning"],
        timeout=120,
    )
    assert outcome.code == 0, outcome.err
    counts = [int(count) for count in outcome.out.strip("[]\n").split(",")]
    sessions = outcome.sessions
    for seed, count in enumerate(counts):
        found = [point[2] for point in sessions[f"the group seed={seed}"].scalars]
        assert found == list(range(count))
    for offset in range(5):
        found = [point[2] for point in sessions[f"the group seed={3 + offset}"].scalars]
        expected = [25 * number + i for number in range(offset, 20, 5) for i in range(25)]
        assert sorted(found) == expected
    assert {status for status, _ in Disk(outcome.cache).ends().values()} == {"completed"}
