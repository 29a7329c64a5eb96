# SPDX-License-Identifier: Apache-2.0
"""Batches of data packets: the results of a loop, wherever they are written."""

from __future__ import annotations

import ctypes
import dataclasses
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nacl.bindings as bindings
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.cryptoauth import DataCipher, ReplayWindow, sodium
from prestocloud_sec.cjdns.cryptoauth import batch_kernel as kernels
from prestocloud_sec.cjdns.cryptoauth.batch import HANDSHAKE, LAST_NONCE, open_batch, seal_batch
from prestocloud_sec.cjdns.cryptoauth.batch_layout import check_layout
from prestocloud_sec.cjdns.errors import CjdnsMisuseError, CryptoAuthError
from prestocloud_sec.errors import UnavailableError
from prestocloud_sec.testing.arena import empty_arena, laid_out
from prestocloud_sec.testing.ground import arenas
from prestocloud_sec.testing.session import damaged

SECRET = bytes(range(32))
OURS, THEIRS = DataCipher(SECRET, initiator=True), DataCipher(SECRET, initiator=False)

lengths = st.one_of(st.integers(0, 80), st.sampled_from([224, 256, 1023, 1024, 1025, 1400]), st.integers(0, 2000))
payload_lists = st.lists(lengths.map(lambda size: bytes(i * 7 + size & 0xFF for i in range(size))), max_size=12)
WHERE = ("new", "out", "in place")


def by_hand(nonce: int, payload: bytes) -> bytes:
    """Make the initiator's packet with PyNaCl alone."""
    inner = bytes(4) + nonce.to_bytes(4, "little") + bytes(16)
    return nonce.to_bytes(4, "big") + bindings.crypto_box_afternm(payload, inner, SECRET)


def loop_open(cipher: DataCipher, window: ReplayWindow, packets: list[bytes]) -> tuple[list[bytes], list[int]]:
    payloads, status = [], []
    for packet in packets:
        payload, code = b"", 0
        nonce = int.from_bytes(packet[:4], "big")
        if len(packet) >= 20 and (nonce < 4 or nonce == 0xFFFFFFFF):
            code = HANDSHAKE
        else:
            try:
                payload = cipher.open(packet)
            except CryptoAuthError as error:
                code = error.code
            else:
                if not window.accept(nonce):
                    payload, code = b"", 14
        payloads.append(payload)
        status.append(code)
    return payloads, status


def state(window: ReplayWindow) -> tuple[int, ...]:
    return window.base, window.bits, window.duplicates, window.lost, window.out_of_range


def contents(arena: PacketArena) -> list[bytes]:
    return [bytes(packet) for packet in arena]


def output(data: st.DataObject, arena: PacketArena, grow: int) -> PacketArena | None:
    """Choose where results go; `arena` allows every place."""
    where = data.draw(st.sampled_from(WHERE))
    if where == "new":
        return None
    if where == "in place":
        return arena
    room = int(np.maximum(arena.lengths + grow, 0).sum())
    return empty_arena(len(arena), room + data.draw(st.integers(0, 3)))


# --- the loop is the oracle


@pytest.mark.parametrize("parts", [True, False], ids=["by parts", "by the box"])
def test_every_size(monkeypatch: pytest.MonkeyPatch, parts: bool) -> None:
    """Each size has its own number of blocks of key stream left over; so has each that is too long to take apart."""
    if not parts:
        monkeypatch.setattr(sodium, "parts", lambda: None)
    ours, theirs = DataCipher(SECRET, initiator=True), DataCipher(SECRET, initiator=False)
    longest = kernels.STREAMED + 70
    content = np.random.default_rng(7).bytes(longest)
    payloads = [content[:size] for size in range(longest + 1)]
    sealed = seal_batch(ours, 4, PacketArena.pack(payloads))
    assert contents(sealed) == [by_hand(4 + i, payload) for i, payload in enumerate(payloads)]
    opened = open_batch(theirs, ReplayWindow(), sealed)
    assert not opened.status.any()
    assert contents(opened.arena) == payloads
    sealed.buffer[sealed.offsets + 4 + sealed.offsets % 16] ^= 0x10
    refused = open_batch(theirs, ReplayWindow(), sealed)
    assert set(refused.status.tolist()) == {15}
    assert not refused.arena.lengths.any()


@given(st.data(), payload_lists, st.integers(4, LAST_NONCE - 20))
def test_seal_batch_is_a_loop(data: st.DataObject, payloads: list[bytes], first: int) -> None:
    arena = data.draw(laid_out(payloads, headroom=20, ascending=True, writable=True))
    out = output(data, arena, 20)
    sealed = seal_batch(OURS, first, arena, out)
    assert contents(sealed) == [by_hand(first + i, payload) for i, payload in enumerate(payloads)]
    assert sealed is out or out is None
    PacketArena(sealed.buffer, sealed.offsets, sealed.lengths)  # what an unchecked arena must be, too


@given(arenas(max_length=200, overlapping=True), st.booleans())
def test_payloads_may_share_bytes_and_lie_anywhere(arena: PacketArena, initiator: bool) -> None:
    ours, theirs = (OURS, THEIRS) if initiator else (THEIRS, OURS)
    payloads = contents(arena)
    sealed = seal_batch(ours, 4, arena)
    assert contents(arena) == payloads
    assert contents(sealed) == [ours.seal(4 + i, payload) for i, payload in enumerate(payloads)]
    window = ReplayWindow()
    assert contents(open_batch(theirs, window, sealed).arena) == payloads
    wires = contents(arena)
    expected = loop_open(theirs, ReplayWindow(), wires)
    opened = open_batch(theirs, ReplayWindow(), arena)
    assert (contents(opened.arena), opened.status.tolist()) == expected


@st.composite
def traffic(draw: st.DrawFn) -> list[bytes]:
    """Draw packets to open: genuine ones in any order, repeated, damaged, short, of our own, or handshakes."""
    packets: list[bytes] = []
    nonce = draw(st.integers(4, LAST_NONCE - 5000))
    for size in draw(st.lists(lengths, max_size=14)):
        nonce += draw(st.sampled_from([1, 1, 1, 1, 2, 40, 63, 64, 200]))
        packet = by_hand(nonce, bytes(size))
        how = draw(st.sampled_from(["good"] * 6 + ["damaged", "short", "early", "ours", "word"]))
        if how == "damaged":
            packet = draw(damaged(packet))
        elif how == "short":
            packet = packet[: draw(st.integers(0, 21))]
        elif how == "ours":
            packet = THEIRS.seal(nonce, bytes(size))
        elif how == "word":
            packet = draw(st.sampled_from([0, 1, 3, 0xFFFFFFFF])).to_bytes(4, "big") + packet[4:]
        packets.insert(draw(st.integers(0, len(packets))) if how == "early" else len(packets), packet)
        if draw(st.integers(0, 5)) == 0:
            packets.append(draw(st.sampled_from(packets)))
    return packets


@given(st.data(), traffic())
def test_open_batch_is_a_loop(data: st.DataObject, packets: list[bytes]) -> None:
    first = data.draw(st.sampled_from([0, int.from_bytes(packets[0][:4], "big") if packets else 0]))
    one, other = ReplayWindow(first), ReplayWindow(first)
    expected = loop_open(THEIRS, one, packets)
    arena = data.draw(laid_out(packets, ascending=True, writable=True))
    out = output(data, arena, -20)
    opened = open_batch(THEIRS, other, arena, out)
    assert (contents(opened.arena), opened.status.tolist()) == expected
    assert state(one) == state(other)
    assert opened.arena is out or out is None
    assert opened.status.dtype == np.uint8


@given(st.data(), st.integers(0, 2**32 - 1))
def test_the_kernels_window_is_the_windows_twin(data: st.DataObject, base: int) -> None:
    window, bits = ReplayWindow(base), np.uint64(0)
    steps = data.draw(st.lists(st.one_of(st.integers(-70, 140), st.integers(-(2**32), 2**32)), max_size=40))
    number = base
    twin_base, twin_bits, lost = np.int64(base), bits, 0
    for step in steps:
        number = max(0, min(2**32 - 1, number + step))
        new, twin_base, twin_bits, gone = kernels.accept(twin_base, np.uint64(twin_bits), number)
        lost = (lost + gone) % 2**32
        assert bool(new) == window.accept(number)
        assert (twin_base, twin_bits, lost) == (window.base, window.bits, window.lost)


def test_recorded_windows() -> None:
    """The kernel's window against what the C code did."""
    path = Path(__file__).parent.parent / "vectors" / "cjdns" / "replay.json"
    cases = json.loads(path.read_text())["cases"]
    assert cases
    for case in cases:
        base, bits, lost, accepted = int(case["start"], 16), np.uint64(0), 0, ""
        for number in case["nonces"]:
            new, base, bits, gone = kernels.accept(np.int64(base), np.uint64(bits), number)
            lost += gone
            accepted += str(int(new))
        assert accepted == case["accept"]
        assert (base, int(bits), lost % 2**32) == (int(case["base"], 16), int(case["bitfield"], 16), case["lost"])


# --- where results are written


def test_in_place_moves_nothing() -> None:
    payloads = [b"first", b"", b"third"]
    arena = PacketArena.pack(payloads, headroom=20)
    start, buffer = arena.offsets.tolist(), arena.buffer
    assert seal_batch(OURS, 4, arena, arena) is arena
    assert arena.buffer is buffer
    assert arena.offsets.tolist() == [offset - 20 for offset in start]
    assert arena.lengths.tolist() == [25, 20, 25]
    opened = open_batch(THEIRS, ReplayWindow(), arena, arena)
    assert opened.arena is arena
    assert arena.offsets.tolist() == start
    assert contents(arena) == payloads


def test_in_place_through_another_arena_of_the_same_memory() -> None:
    arena = PacketArena.pack([b"abc"] * 3, headroom=20)
    view = PacketArena(arena.buffer[:], arena.offsets.copy(), arena.lengths.copy())
    assert contents(seal_batch(OURS, 4, arena, view)) == [by_hand(4 + i, b"abc") for i in range(3)]


def test_output_can_be_used_again() -> None:
    arena = PacketArena.pack([b"one", b"two"])
    out = empty_arena(2, 46)
    for nonce in (4, 6, 1000):
        assert seal_batch(OURS, nonce, arena, out) is out
        assert contents(out) == [by_hand(nonce, b"one"), by_hand(nonce + 1, b"two")]


def test_bytes_around_the_packets_stay() -> None:
    arena = PacketArena.pack([b"abc", b"defg"], headroom=25, tailroom=5)
    arena.buffer[:] = np.where(arena.buffer == 0, 0x55, arena.buffer)
    seal_batch(OURS, 4, arena, arena)
    touched = np.zeros(len(arena.buffer), dtype=bool)
    for offset, length in zip(arena.offsets, arena.lengths, strict=True):
        touched[offset : offset + length] = True
    assert (arena.buffer[~touched] == 0x55).all()
    out = empty_arena(2, 7 + 9)
    open_batch(THEIRS, ReplayWindow(), arena, out)
    assert out.buffer.tobytes() == b"abcdefg" + b"\xdd" * 9


def test_nothing_of_a_refused_packet_stays() -> None:
    secret = b"attack at dawn, and not a minute later"
    genuine = by_hand(9, secret)
    forged = genuine[:-1] + bytes([genuine[-1] ^ 1])
    arena = PacketArena.pack([forged, genuine, genuine])
    out = empty_arena(3, 300)
    opened = open_batch(THEIRS, ReplayWindow(), arena, out)
    assert opened.status.tolist() == [15, 0, 14]
    assert out.lengths.tolist() == [0, len(secret), 0]
    assert out.buffer.tobytes().count(secret[:8]) == 1
    again = PacketArena.pack([genuine, genuine, forged])
    window = ReplayWindow(10)
    opened = open_batch(THEIRS, window, again, again)
    assert opened.status.tolist() == [14, 14, 15]
    assert secret[:8] not in again.buffer.tobytes()


def test_what_was_on_the_stack_is_wiped(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel gives all its memory to ``sodium_memzero``: after good packets, forged ones, and where it breaks off."""
    wiped: list[bytes] = []

    def watch(memory: int, size: int) -> None:
        wiped.append(ctypes.string_at(memory, size))
        ctypes.memset(memory, 0, size)

    callback = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_size_t)(watch)
    address = ctypes.cast(callback, ctypes.c_void_p).value
    monkeypatch.setattr(sodium, "LIBRARY", dataclasses.replace(sodium.library(), zero_address=address))
    ours, theirs = DataCipher(SECRET, initiator=True), DataCipher(SECRET, initiator=False)
    payload, nonce = b"\xa5" * 700, bytes(4) + (4).to_bytes(4, "little") + bytes(16)
    sealed = seal_batch(ours, 4, PacketArena.pack([payload]))
    assert bytes(sealed[0])[20:] in wiped.pop()
    assert not open_batch(theirs, ReplayWindow(), sealed).status.any()
    assert payload in wiped.pop()
    forged = PacketArena.pack([bytes(sealed[0])[:-1] + b"?"])
    assert open_batch(theirs, ReplayWindow(), forged).status.tolist() == [15]
    stream = bindings.crypto_box_afternm(bytes(700), nonce, SECRET)[16:]
    assert bytes(a ^ b for a, b in zip(bytes(forged[0])[20:], stream, strict=True)) in wiped.pop()
    lengths = np.array([700, 700, 0])  # sealing the first packet overwrites the length of the second
    arena = PacketArena(np.frombuffer(payload * 2, np.uint8), np.array([0, 700]), lengths[:2])
    out = PacketArena(np.zeros(1440, np.uint8), np.zeros(2, np.int64), lengths[1:])
    with pytest.raises(CjdnsMisuseError, match="outside"):
        seal_batch(ours, 4, arena, out)
    assert bytes(sealed[0])[20:] in wiped.pop()


def test_read_only_input() -> None:
    packed = PacketArena.pack([b"abc", b"def"])
    arena = PacketArena(np.frombuffer(packed.buffer.tobytes(), np.uint8), packed.offsets, packed.lengths)
    assert contents(seal_batch(OURS, 4, arena)) == [by_hand(4, b"abc"), by_hand(5, b"def")]
    with pytest.raises(CjdnsMisuseError, match="read-only"):
        seal_batch(OURS, 4, arena, arena)


def test_large_sparse_buffer() -> None:
    """Packets far apart do not make the output as large as the input."""
    offsets = np.array([0, 3 << 20], dtype=np.int64)
    arena = PacketArena(np.zeros(4 << 20, dtype=np.uint8), offsets, np.array([10, 20], dtype=np.int64))
    sealed = seal_batch(OURS, 4, arena)
    assert len(sealed.buffer) == 70
    assert contents(open_batch(THEIRS, ReplayWindow(), sealed).arena) == [bytes(10), bytes(20)]


# --- misuse changes nothing


@given(st.data(), st.sampled_from(["seal", "open"]))
def test_layouts_are_refused_as_the_readable_check_refuses_them(data: st.DataObject, what: str) -> None:
    grow = 20 if what == "seal" else -20
    arena = data.draw(arenas(max_length=60, overlapping=data.draw(st.booleans())))
    target = arena.buffer
    if data.draw(st.booleans()):
        target = np.full(data.draw(st.integers(0, 300)), 0xDD, dtype=np.uint8)
    out = PacketArena(target, np.zeros(len(arena), dtype=np.int64), np.zeros(len(arena), dtype=np.int64))
    before = arena.buffer.tobytes(), target.tobytes()
    expected = refusal(lambda: check_layout(arena, target, grow))
    if what == "seal":
        found = refusal(lambda: seal_batch(OURS, 4, arena, out))
    else:
        found = refusal(lambda: open_batch(THEIRS, ReplayWindow(), arena, out))
    assert found == expected
    if found is not None:
        assert (arena.buffer.tobytes(), target.tobytes()) == before
        assert not out.lengths.any()


def refusal(call: Callable[[], object]) -> str | None:
    try:
        call()
    except CjdnsMisuseError as error:
        return str(error)
    return None


def test_overlapping_output_is_refused() -> None:
    memory = np.zeros(400, dtype=np.uint8)
    arena = PacketArena(memory[:200], np.array([0, 50], dtype=np.int64), np.array([50, 50], dtype=np.int64))
    out = PacketArena(memory[100:], np.zeros(2, dtype=np.int64), np.zeros(2, dtype=np.int64))
    for call in (lambda: seal_batch(OURS, 4, arena, out), lambda: open_batch(THEIRS, ReplayWindow(), arena, out)):
        with pytest.raises(CjdnsMisuseError, match="shares memory"):
            call()
    assert not memory.any()


@pytest.mark.parametrize("first", [-1, 0, 3, LAST_NONCE, LAST_NONCE + 1, 1 << 32, 1 << 80, 4.0, "4", True, None])
def test_nonces_out_of_range(first: int) -> None:
    with pytest.raises(CjdnsMisuseError, match="first_nonce"):
        seal_batch(OURS, first, PacketArena.pack([b"a", b"b"]))


def test_the_last_nonce_can_be_used() -> None:
    sealed = seal_batch(OURS, LAST_NONCE - 1, PacketArena.pack([b"a", b"b"]))
    assert contents(sealed) == [by_hand(0xFFFFFFEE, b"a"), by_hand(0xFFFFFFEF, b"b")]


@pytest.mark.parametrize("value", [None, b"bytes", [b"a"], 7])
def test_wrong_types(value: PacketArena) -> None:
    arena = PacketArena.pack([b"abc"])
    calls = [
        lambda: seal_batch(OURS, 4, value),
        lambda: open_batch(THEIRS, ReplayWindow(), value),
        lambda: seal_batch(value, 4, arena),  # type: ignore[arg-type]
        lambda: open_batch(value, ReplayWindow(), arena),  # type: ignore[arg-type]
        lambda: open_batch(THEIRS, value, arena),  # type: ignore[arg-type]
    ]
    if value is not None:
        calls += [lambda: seal_batch(OURS, 4, arena, value), lambda: open_batch(THEIRS, ReplayWindow(), arena, value)]
    for call in calls:
        with pytest.raises(CjdnsMisuseError):
            call()


def test_output_of_another_number_of_packets() -> None:
    with pytest.raises(CjdnsMisuseError, match="2 packets"):
        seal_batch(OURS, 4, PacketArena.pack([b"abc"]), empty_arena(2, 100))


def test_ciphers_that_cannot_be_used() -> None:
    arena = PacketArena.pack([bytes(30)])
    plain, wiped = DataCipher(SECRET, initiator=True, authenticated=False), DataCipher(SECRET, initiator=True)
    seal_batch(wiped, 4, arena)
    wiped.wipe()
    for cipher, match in ((plain, "tag"), (wiped, "wiped")):
        with pytest.raises(CjdnsMisuseError, match=match):
            seal_batch(cipher, 4, arena)
        with pytest.raises(CjdnsMisuseError, match=match):
            open_batch(cipher, ReplayWindow(), arena)


def test_where_the_parts_of_a_box_are_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    find = sodium.parts.__wrapped__
    assert find() is None or all(find())
    monkeypatch.setattr(sodium, "_PARTS", ("crypto_core_hsalsa20", "no such function"))
    assert find() is None


def test_without_the_private_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sodium, "LIBRARY", None)
    with pytest.raises(UnavailableError, match="PyNaCl"):
        seal_batch(DataCipher(SECRET, initiator=True), 4, PacketArena.pack([b"abc"]))


@pytest.mark.parametrize("count", [0, 1])
def test_small_batches(count: int) -> None:
    arena = PacketArena.pack([b"abc"] * count)
    for out in (None, empty_arena(count, 23 * count)):
        sealed = seal_batch(OURS, 4, arena, out)
        opened = open_batch(THEIRS, ReplayWindow(), sealed)
        assert (contents(opened.arena), opened.status.tolist()) == ([b"abc"] * count, [0] * count)


def test_arrays_that_change_under_a_kernel_stay_in_bounds() -> None:
    """Another thread can change offsets after an arena was made; the kernels look again."""
    arena = PacketArena.pack([bytes(30), bytes(30)])
    out = empty_arena(2, 200)
    for offset, length in ((-1, 10), (61, 0), (50, 11), (0, -5), (2**62, 2**62), (-(2**63), 8)):
        arena.offsets[1], arena.lengths[1] = offset, length
        for call in (lambda: seal_batch(OURS, 4, arena, out), lambda: open_batch(THEIRS, ReplayWindow(), arena, out)):
            with pytest.raises(CjdnsMisuseError, match="outside"):
                call()
    assert (out.buffer == 0xDD).all()


# --- compiled code


def test_compiled_code_serves_another_process() -> None:
    """What is kept on disk holds no address of the process that compiled it."""
    sealed = seal_batch(OURS, 4, PacketArena.pack([b"from here"]))
    program = (
        "from prestocloud_sec.arena import PacketArena\n"
        "from prestocloud_sec.cjdns.cryptoauth import DataCipher, ReplayWindow\n"
        "from prestocloud_sec.cjdns.cryptoauth.batch import open_batch\n"
        f"cipher = DataCipher(bytes(range(32)), initiator=False)\n"
        f"arena = PacketArena.pack([bytes.fromhex('{bytes(sealed[0]).hex()}')])\n"
        "print(bytes(open_batch(cipher, ReplayWindow(), arena).arena[0]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout == "b'from here'\n"


def test_a_context_holds_no_secret() -> None:
    cipher = DataCipher(SECRET, initiator=True)
    seal_batch(cipher, 4, PacketArena.pack([b"abc"]))
    context = cipher.context.tobytes()
    assert not any(SECRET[i : i + 4] in context for i in range(29))
    cipher.wipe()
    assert cipher.context is None
