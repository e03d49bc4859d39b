"""Which connections make room, without a socket: those that drip first, the owner's last, whatever address all come from."""

import pytest

from tflite_runtime_app.sinks.web.connections import MOST, MOST_OF_ONE, MOST_WITH_YOUNG, YOUNG, Connections


@pytest.fixture
def connections() -> Connections:
    return Connections()


def test_the_oldest_unfinished_connections_of_an_address_make_room(connections):
    for number in range(MOST_OF_ONE + 3):
        connections.add(number, "10.0.0.9", number)
    assert connections.surplus(100) == [0, 1, 2]


def test_who_has_shown_the_token_stays_and_who_has_just_come_has_time_for_a_request(connections):
    connections.add("owner", "127.0.0.1", 0.0)
    connections.get("owner").known = True
    for number in range(200):
        connections.add(number, "127.0.0.1", 10.0)
    connections.get("owner").waits(9.0)
    for number in range(MOST_OF_ONE):
        connections.add(("dripping", number), "127.0.0.1", 0.0)
    assert connections.surplus(10.0 + YOUNG / 2) == [("dripping", 0)]
    gone = connections.surplus(10.0 + YOUNG)
    assert gone == [*(("dripping", number) for number in range(MOST_OF_ONE)), *range(201 - MOST_OF_ONE)]


def test_in_a_flood_the_oldest_of_the_young_ones_go(connections):
    for number in range(MOST_WITH_YOUNG + 1):
        connections.add(number, "127.0.0.1", 10.0)
    assert connections.surplus(10.0) == [0]


def test_the_address_with_the_most_connections_gives_first(connections):
    connections.add("one", "192.168.1.5", 0.0)
    for number in range(MOST_OF_ONE * 8):
        connections.add(number, f"10.0.0.{number % 8}", 1.0 + number)
    gone = connections.surplus(1000.0)
    assert "one" not in gone
    assert MOST_OF_ONE * 8 + 1 - len(gone) == MOST


def test_a_network_of_ipv6_is_one_client_and_an_address_of_ipv4_within_it_itself(connections):
    for number in range(MOST_OF_ONE + 1):
        connections.add(("six", number), f"2001:db8::{number:x}", 0.0)
        connections.add(("four", number), f"::ffff:10.0.{number}.1", 0.0)
        connections.add(("local", number), f"fe80::{number}%eth0", 0.0)
    assert sorted(key[0] for key in connections.surplus(10.0)) == ["local", "six"]


def test_idle_ones_go_before_busy_ones_and_slow_takers_are_told(connections):
    for number in range(MOST_OF_ONE + 1):
        connections.add(number, "10.0.0.9", 0.0)
        connections.get(number).known = True
        connections.get(number).works(1.0)
    connections.get(7).waits(5.0)
    connections.get(3).sends(2.0)
    assert connections.surplus(10.0) == [7]
    assert connections.late(10.0, 7.9) == [3]
    assert connections.late(10.0, 8.1) == []
    connections.remove(3)
    connections.remove("never there")
    assert len(connections) == MOST_OF_ONE
