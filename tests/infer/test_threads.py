import threading
from contextlib import ExitStack

import pytest

from glaciercube.infer import threads
from glaciercube.infer.threads import Policy, policy_of, set_policy, slot, stated_threads


@pytest.fixture(autouse=True)
def fresh():
    """Let each test find the policy anew, and leave none behind."""
    set_policy(None)
    yield
    set_policy(None)


@pytest.mark.parametrize(
    ("cores", "stated", "slots", "each"),
    [(8, 1, 8, 1), (8, 4, 2, 4), (8, 8, 1, 8), (8, 16, 1, 16), (8, None, 1, 8), (1, None, 1, 1)],
)
def test_forward_passes_fill_the_cores_once(cores, stated, slots, each):
    assert policy_of(cores, stated) == Policy(slots, each)


def test_what_dasks_nanny_says_counts(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setattr(threads, "cores_of_process", lambda: 4)
    assert threads.policy() == Policy(4, 1)


def test_a_setting_of_more_threads_than_cores_is_cut(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "64")
    monkeypatch.setattr(threads, "cpu_count", lambda: 4)
    monkeypatch.setattr(threads, "cores_of_process", lambda: 4)
    assert threads.policy() == Policy(1, 4)


@pytest.mark.parametrize("text", ["", "0", "-1", "all", ","])
def test_a_setting_of_no_use_is_no_setting(text):
    assert stated_threads({"OMP_NUM_THREADS": text}) is None


def test_no_more_forward_passes_than_slots_run_at_a_time():
    set_policy(Policy(2, 1))
    running, most, lock = [], [], threading.Lock()
    both = threading.Barrier(2, timeout=30)

    def forward():
        with slot():
            with lock:
                running.append(1)
                most.append(len(running))
            both.wait()
            with lock:
                running.pop()

    every = [threading.Thread(target=forward) for _ in range(6)]
    for one in every:
        one.start()
    for one in every:
        one.join(timeout=60)
    assert max(most) == 2
    assert len(most) == 6


def test_a_thread_with_a_turn_gets_another_at_once():
    set_policy(Policy(1, 1))
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(slot())
    with slot() as policy:
        assert policy.cores == 1


def test_the_variables_of_every_library_are_set_for_a_worker():
    assert set(threads.environment(3).values()) == {"3"}
    assert "NUMBA_NUM_THREADS" in threads.environment()
