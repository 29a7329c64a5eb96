# SPDX-License-Identifier: Apache-2.0
"""CryptoAuth: data packets singly and in batches, and the handshake.

The C loop builds each packet's nonce, calls the same libsodium function by address and, for opening, keeps the same
replay window; what it writes to was allocated beforehand. It runs many batches in one call, so that what calling C from
Python costs is not in its time. Every batch that is opened starts from the same fresh window, on both sides.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nacl.bindings as bindings
import numpy as np
import pytest

from benchmarks.conftest import Versus
from prestocloud_sec.arena import PacketArena
from prestocloud_sec.cjdns.cryptoauth import Session, secrets, sodium
from prestocloud_sec.cjdns.keys import PrivateKey

COUNT = 32
REPEATS = 50

C_LOOP = """
#include <stdint.h>
#include <string.h>

typedef int (*box)(unsigned char *, const unsigned char *, unsigned long long, const unsigned char *,
                   const unsigned char *);

void seal(int64_t repeats, box function, const unsigned char *key, uint32_t first, int at, const unsigned char *in,
          const int64_t *offsets, const int64_t *lengths, int64_t count, unsigned char *out, int64_t *out_offsets,
          int64_t *out_lengths)
{
    while (repeats--) {
        int64_t place = 0;
        for (int64_t i = 0; i < count; i++) {
            uint32_t nonce = first + (uint32_t)i, wire = __builtin_bswap32(nonce);
            unsigned char inner[24] = {0};
            memcpy(inner + at, &nonce, 4);
            memcpy(out + place, &wire, 4);
            function(out + place + 4, in + offsets[i], lengths[i], inner, key);
            out_offsets[i] = place;
            out_lengths[i] = lengths[i] + 20;
            place += lengths[i] + 20;
        }
    }
}

void open_(int64_t repeats, box function, const unsigned char *key, uint32_t first, int at, const unsigned char *in,
           const int64_t *offsets, const int64_t *lengths, int64_t count, unsigned char *out, int64_t *out_offsets,
           int64_t *out_lengths, unsigned char *status)
{
    while (repeats--) {
        int64_t place = 0;
        uint32_t base = first;
        uint64_t bits = 0;
        for (int64_t i = 0; i < count; i++) {
            out_offsets[i] = place;
            out_lengths[i] = 0;
            if (lengths[i] < 20) { status[i] = 1; continue; }
            uint32_t nonce;
            unsigned char inner[24] = {0};
            memcpy(&nonce, in + offsets[i], 4);
            nonce = __builtin_bswap32(nonce);
            memcpy(inner + at, &nonce, 4);
            if (function(out + place, in + offsets[i] + 4, lengths[i] - 4, inner, key)) { status[i] = 15; continue; }
            status[i] = 14;
            if (nonce < base) continue;
            uint32_t offset = nonce - base;
            while (offset > 63) {
                uint32_t shift = (uint32_t)bits == 0xffffffff ? 32 : offset - 47;
                bits = shift > 63 ? 0 : bits >> shift;
                base += shift;
                offset -= shift;
            }
            if (bits >> offset & 1) continue;
            bits |= (uint64_t)1 << offset;
            status[i] = 0;
            out_lengths[i] = lengths[i] - 20;
            place += lengths[i] - 20;
        }
    }
}
"""


def connected() -> tuple[Session, Session]:
    keys = PrivateKey.generate(), PrivateKey.generate()
    a, b = Session(keys[0], peer_key=keys[1].public), Session(keys[1], peer_key=keys[0].public)
    for sender, receiver in ((a, b), (b, a)) * 2:
        receiver.decrypt(sender.encrypt(b""))
    return a, b


class CLoop:
    """The C loop over one batch, with the keys and nonces of a session."""

    def __init__(self, path: Path, session: Session, arena: PacketArena) -> None:
        library = ctypes.CDLL(str(path))
        cipher = session._live.cipher
        assert cipher is not None
        self.seal_, self.open_ = library.seal, library.open_
        self.seal_.restype = self.open_.restype = None
        self.kept = [arena, cipher]
        self.key = ctypes.c_void_p(cipher.key_address())
        self.input = [self.at(arena.buffer), self.at(arena.offsets), self.at(arena.lengths), ctypes.c_int64(len(arena))]
        self.out = np.zeros(int(arena.lengths.sum()) + 20 * len(arena), np.uint8)
        self.places, self.sizes = np.zeros(len(arena), np.int64), np.zeros(len(arena), np.int64)
        self.status = np.full(len(arena), 99, np.uint8)
        self.output = [self.at(self.out), self.at(self.places), self.at(self.sizes)]

    def at(self, array: Any) -> ctypes.c_void_p:
        self.kept.append(array)
        return ctypes.c_void_p(array.ctypes.data)

    def arguments(self, address: int, first: int, at: int) -> list[Any]:
        start = [ctypes.c_int64(REPEATS), ctypes.c_void_p(address), self.key, ctypes.c_uint32(first), ctypes.c_int(at)]
        return [*start, *self.input, *self.output]

    def seal(self, first: int) -> Callable[[], None]:
        arguments = self.arguments(sodium.library().seal_address, first, 4)
        return lambda: self.seal_(*arguments)

    def open(self, first: int) -> Callable[[], None]:
        arguments = [*self.arguments(sodium.library().open_address, first, 4), self.at(self.status)]
        return lambda: self.open_(*arguments)

    def results(self) -> list[bytes]:
        return [bytes(packet) for packet in PacketArena(self.out, self.places, self.sizes)]


def batch_of(size: int) -> PacketArena:
    return PacketArena.pack([bytes(i + j & 0xFF for j in range(size)) for i in range(COUNT)])


OUTPUTS = [
    pytest.param(True, id="reused"),
    pytest.param(False, id="new"),
]


@pytest.mark.parametrize("reused", OUTPUTS)
@pytest.mark.parametrize(("size", "target"), [(64, 1.15), (1400, 1.10)])
def test_encrypt_batch(
    versus: Versus, c_library: Callable[[str], Path], size: int, target: float, reused: bool
) -> None:
    a, _ = connected()
    arena = batch_of(size)
    loop = CLoop(c_library(C_LOOP), a, arena)
    peer = loop.seal(a._live.next_nonce)
    out = a.encrypt_batch(arena)
    peer()
    assert loop.results() == [bytes(packet) for packet in out]

    def ours() -> None:
        a._live.next_nonce = 1000  # so that no round of a benchmark runs out of nonces
        a.encrypt_batch(arena, out=out if reused else None)

    versus(
        f"encrypt_batch, {COUNT} x {size} B" + ("" if reused else ", into new arrays"),
        ours,
        peer,
        against="C loop",
        target=target,
        units=COUNT,
        peer_units=COUNT * REPEATS,
        note="one packet; `out=` reuses arrays, as C does" if reused else "one packet; C allocates nothing",
    )


@pytest.mark.parametrize("reused", OUTPUTS)
@pytest.mark.parametrize(("size", "target"), [(64, 1.20), (1400, 1.15)])
def test_decrypt_batch(
    versus: Versus, c_library: Callable[[str], Path], size: int, target: float, reused: bool
) -> None:
    a, b = connected()
    arena = batch_of(size)
    first = a._live.next_nonce
    packets = a.encrypt_batch(arena)
    out, status = b.decrypt_batch(packets)
    assert not status.any()
    loop = CLoop(c_library(C_LOOP), b, packets)
    peer = loop.open(first)
    peer()
    assert loop.results() == [bytes(payload) for payload in out] == [bytes(payload) for payload in arena]
    assert not loop.status.any()
    window = b._live.window

    def ours() -> None:
        window.base, window.bits = first, 0
        b.decrypt_batch(packets, out=out if reused else None)

    ours()
    assert b.statistics.refused == {}
    versus(
        f"decrypt_batch, {COUNT} x {size} B" + ("" if reused else ", into new arrays"),
        ours,
        peer,
        against="C loop",
        target=target,
        units=COUNT,
        peer_units=COUNT * REPEATS,
        note="one packet; `out=` reuses arrays, as C does" if reused else "one packet; C allocates nothing",
    )


def test_one_packet(versus: Versus) -> None:
    a, b = connected()
    payload, nonce, key = bytes(range(200)) * 7, bytes(24), bytes(range(32))
    boxed = bindings.crypto_box_afternm(payload, nonce, key)
    assert b.decrypt(a.encrypt(payload)) == payload

    def peer() -> None:
        bindings.crypto_box_afternm(payload, nonce, key)
        bindings.crypto_box_open_afternm(boxed, nonce, key)

    versus(
        "one Session.encrypt + decrypt, 1400 B",
        lambda: b.decrypt(a.encrypt(payload)),
        peer,
        against="nacl.bindings.crypto_box_afternm + crypto_box_open_afternm",
        target=0.9,
        note="nonce, header, time-out, replay window and statistics are in ours",
    )


def test_handshake(versus: Versus, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = PrivateKey.generate(), PrivateKey.generate()
    for key in keys:
        assert key.public.is_routable  # and known from now on

    def ours() -> tuple[Session, Session]:
        a, b = Session(keys[0], peer_key=keys[1].public), Session(keys[1])
        for sender, receiver in ((a, b), (b, a)) * 2:
            receiver.decrypt(sender.encrypt(b""))
        return a, b

    calls = {"beforenm": 0, "raw_product": 0, "public_key": 0}

    def counting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*arguments: bytes) -> Any:
            calls[name] += 1
            return real(*arguments)

        return counted

    with monkeypatch.context() as patch:
        for module, name in ((secrets, "beforenm"), (secrets, "raw_product"), (sodium, "public_key")):
            patch.setattr(module, name, counting(name, getattr(module, name)))
        a, b = ours()
    assert a.established
    assert b.established
    products, bases = calls["beforenm"] + calls["raw_product"], calls["public_key"]
    # Each side computes three secrets (permanent x permanent, the key packet's, temporary x temporary) and draws one
    # temporary key. The peer is the products alone, without the HSalsa20 behind each.
    assert (products, bases) == (6, 2)
    private, public = keys[0].raw, keys[1].public.raw

    def peer() -> None:
        for _ in range(products):
            bindings.crypto_scalarmult(private, public)
        for _ in range(bases):
            bindings.crypto_scalarmult_base(private)

    versus(
        "complete handshake, both sides",
        ours,
        peer,
        against=f"{products} crypto_scalarmult + {bases} crypto_scalarmult_base",
        target=1.25,
        note="two new sessions to ESTABLISHED on both sides, four packets; the peer is what it computes on the curve",
    )
