# SPDX-License-Identifier: Apache-2.0
"""Policies as values: digests against formulas written out here, JSON both ways, trees, and all that is refused."""

from __future__ import annotations

import copy
import hashlib
import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prestocloud_sec.errors import PrestoCloudError
from prestocloud_sec.testing.tpm_policy import policies, steps
from prestocloud_sec.tpm.errors import PolicyError, PolicyFormatError, TpmMisuseError
from prestocloud_sec.tpm.hashes import hash_of
from prestocloud_sec.tpm.pcr import PcrBanks
from prestocloud_sec.tpm.policy import (
    NV,
    OR,
    PCR,
    Authorize,
    AuthorizeNV,
    AuthValue,
    CommandCode,
    CounterTimer,
    CpHash,
    DuplicationSelect,
    Locality,
    NameHash,
    NvWritten,
    Password,
    PhysicalPresence,
    Policy,
    Secret,
    Signed,
    Step,
    Template,
    Ticket,
    any_of,
)
from prestocloud_sec.tpm.policy.step import STEPS
from prestocloud_sec.tpm.spec import TPM_EO, TPM_RH, TPMT_TK_AUTH

NAME = b"\x00\x0b" + bytes(range(32))
OTHER = b"\x00\x0b" + bytes(32)
DIGEST = bytes(range(32))


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def code(number: int) -> bytes:
    return number.to_bytes(4, "big")


ZERO = bytes(32)

FORMULAS: list[tuple[Step, Callable[[bytes], bytes]]] = [
    (AuthValue(), lambda p: sha256(p, code(0x16B))),
    (Password(), lambda p: sha256(p, code(0x16B))),
    (PhysicalPresence(), lambda p: sha256(p, code(0x187))),
    (CommandCode(0x15E), lambda p: sha256(p, code(0x16C), code(0x15E))),
    (Locality(0x12), lambda p: sha256(p, code(0x16F), b"\x12")),
    (NvWritten(False), lambda p: sha256(p, code(0x18F), b"\0")),
    (CpHash(DIGEST), lambda p: sha256(p, code(0x16E), DIGEST)),
    (NameHash(DIGEST), lambda p: sha256(p, code(0x170), DIGEST)),
    (Template(DIGEST), lambda p: sha256(p, code(0x190), DIGEST)),
    (DuplicationSelect(NAME, OTHER), lambda p: sha256(p, code(0x188), NAME, b"\0")),
    (DuplicationSelect(NAME, OTHER, include_object=True), lambda p: sha256(p, code(0x188), OTHER, NAME, b"\1")),
    (
        PCR("sha256:0", values={"sha256": {0: DIGEST}}),
        lambda p: sha256(p, code(0x17F), bytes.fromhex("00000001000b03010000"), sha256(DIGEST)),
    ),
    (PCR("", digest=sha256()), lambda p: sha256(p, code(0x17F), code(0), sha256())),
    (
        NV(NAME, b"value", "uge", 3),
        lambda p: sha256(p, code(0x149), sha256(b"value", b"\0\3", b"\0\7"), NAME),
    ),
    (
        CounterTimer(b"12345678", TPM_EO.SIGNED_LT, 8),
        lambda p: sha256(p, code(0x16D), sha256(b"12345678", b"\0\x08", b"\0\4")),
    ),
    (Secret(TPM_RH.OWNER), lambda p: sha256(sha256(p, code(0x151), code(0x40000001)))),  # type: ignore[arg-type]
    (Secret(NAME, b"ref", -9), lambda p: sha256(sha256(p, code(0x151), NAME), b"ref")),
    (Signed(NAME, b"ref", 7, DIGEST), lambda p: sha256(sha256(p, code(0x160), NAME), b"ref")),
    (
        Ticket(NAME, TPMT_TK_AUTH.decode(bytes.fromhex("8023400000010000")), b"", b"r"),
        lambda p: sha256(sha256(p, code(0x151), NAME), b"r"),
    ),
    (
        Ticket(NAME, TPMT_TK_AUTH.decode(bytes.fromhex("8025400000010000")), b"", b"r"),
        lambda p: sha256(sha256(p, code(0x160), NAME), b"r"),
    ),
    (
        OR(AuthValue(), DIGEST),
        lambda p: sha256(ZERO, code(0x171), sha256(p, code(0x16B)), DIGEST),
    ),
    (Authorize(NAME, b"ref", Policy(AuthValue())), lambda p: sha256(sha256(ZERO, code(0x16A), NAME), b"ref")),
    (AuthorizeNV(NAME), lambda p: sha256(ZERO, code(0x192), NAME)),
]


@pytest.mark.parametrize(("step", "formula"), FORMULAS, ids=lambda value: str(value) if isinstance(value, Step) else "")
def test_digests(step: Step, formula: Callable[[bytes], bytes]) -> None:
    assert Policy(step).digest() == formula(ZERO)
    before = Policy(CommandCode(1))
    assert (before >> step).digest("sha256") == formula(before.digest(0x000B))


def plainly(policy: Policy, digest: bytes) -> bytes:
    """Return the digest after a policy of AuthValue, CommandCode and OR; a branch is gone through where it stands."""
    for step in policy.steps:
        if isinstance(step, OR):
            branches = (branch if isinstance(branch, bytes) else plainly(branch, digest) for branch in step.branches)
            digest = sha256(ZERO, code(0x171), *branches)
        else:
            argument = code(step.command) if isinstance(step, CommandCode) else b""
            digest = sha256(digest, code(step.code), argument)
    return digest


@st.composite
def shared(draw: st.DrawFn) -> Policy:
    """Return a strategy of policies whose branches are branches at other places too."""
    known: list[Policy | bytes] = [Policy(AuthValue()), Policy(CommandCode(1)), DIGEST]
    for _ in range(draw(st.integers(1, 7))):
        branches = draw(st.lists(st.sampled_from(known), min_size=2, max_size=3))
        before = [CommandCode(2)] if draw(st.booleans()) else []
        known.append(Policy(*before, OR(*branches)))
    return Policy(*(policy for policy in known[3:] if isinstance(policy, Policy)))


@given(policy=shared())
def test_what_is_a_branch_at_many_places_counts_at_each(policy: Policy) -> None:
    assert policy.digest() == plainly(policy, ZERO)


def test_alternatives_in_each_other_cost_what_there_is_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    hashed = Step._hashed

    def counted(self: Step, *given: Any) -> bytes:
        nonlocal calls
        calls += 1
        return hashed(self, *given)

    monkeypatch.setattr(Step, "_hashed", counted)
    policy = Policy(AuthValue())
    for _ in range(15):  # eight to the power of fifteen ways through it
        policy = Policy(OR(*[policy] * 8))
    digest = policy.digest()
    assert calls <= 8 * 15 + 1 + 8  # each branch of each step once
    expected = sha256(ZERO, code(0x16B))
    for _ in range(15):
        expected = sha256(ZERO, code(0x171), expected * 8)
    assert digest == expected


def test_every_class_is_tried() -> None:
    assert {type(step).op for step, _ in FORMULAS} == set(STEPS)


@pytest.mark.parametrize("hash", ["sha1", "sha384", "sha512", "sha3_256"])
def test_other_hashes(hash: str) -> None:
    row = hash_of(hash)
    policy = NvWritten() >> OR(AuthValue(), Password() >> Locality.of(1))
    p = row.digest(bytes(row.size), code(0x18F), b"\1")
    first = row.digest(p, code(0x16B))
    second = row.digest(first, code(0x16F), b"\2")
    assert policy.digest(hash) == row.digest(bytes(row.size), code(0x171), first, second)
    assert policy.digests(hash) == (p, policy.digest(hash))


def test_pcrs_are_taken_from_a_bank() -> None:
    banks = PcrBanks()
    banks.event(16, b"something")
    policy = PCR("sha256:7,16+sha1:16", values=banks.values())
    assert policy.pcr_digest(hash_of("sha384")) == banks.digest("sha256:7,16+sha1:16", "sha384")
    assert policy == PCR("sha256:7,16+sha1:16", values=banks.values("sha256:7,16+sha1:16"))
    assert hash(policy) == hash(copy.deepcopy(policy))
    assert Policy(policy).digest("sha1") == Policy(
        PCR(policy.selection, digest=policy.pcr_digest(hash_of("sha1")))
    ).digest("sha1")


def test_composition() -> None:
    one, two, three = AuthValue(), Locality(1), NvWritten()
    assert one >> two >> three == Policy(one, two, three) == one + two + three == Policy(one >> two, three)
    assert one >> (two >> three) == one >> two >> three
    assert len(Policy()) == 0
    assert Policy().digest() == ZERO
    assert Policy()
    assert (Policy(one, label="a") >> two).label == "a"
    assert Policy(one) != Policy(one, label="a")
    assert len({Policy(one), one >> Policy(), Policy(two)}) == 2
    assert Policy(one) != one
    for wrong in (None, "AuthValue", b""):
        with pytest.raises(TypeError):
            _ = Policy(one) >> wrong  # type: ignore[operator]
        with pytest.raises(PolicyError):
            Policy(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [1, 2, 8, 9, 64, 65])
def test_any_number_of_branches(count: int) -> None:
    policy = any_of(*(CommandCode(number) for number in range(count)))
    level = [sha256(ZERO, code(0x16C), code(number)) for number in range(count)]
    while len(level) > 1:
        groups = [level[at : at + 8] for at in range(0, len(level), 8)]
        level = [sha256(ZERO, code(0x171), *group) if len(group) > 1 else group[0] for group in groups]
    assert policy.digest() == level[0]
    with pytest.raises(PolicyError):
        any_of()


@given(policies())
def test_json_both_ways(policy: Policy) -> None:
    text = policy.to_json()
    again = Policy.from_json(text)
    assert again == policy
    assert again.to_json() == text
    assert again.digest() == policy.digest()
    assert Policy.from_json(policy.to_json(indent=None).encode()) == policy
    assert pickle.loads(pickle.dumps(policy)) == policy  # noqa: S301
    assert copy.deepcopy(policy) == policy
    assert hash(again) == hash(policy)


@given(policies())
def test_texts(policy: Policy) -> None:
    lines = str(policy).splitlines()
    assert len(lines) >= 1 + len(policy)
    assert all(len(line) < 400 for line in lines)
    html = policy._repr_html_()
    assert html.count("<li>") == html.count("</li>") == len(lines) - 1
    assert eval(repr(policy), _NAMES) == policy if "TPM" not in repr(policy) and "Pcr" not in repr(policy) else True  # noqa: S307


_NAMES = {kind.__name__: kind for kind in (*STEPS.values(), Policy)}


@given(policies(), st.data())
def test_json_that_was_changed_is_refused_or_is_what_it_says(policy: Policy, data: st.DataObject) -> None:
    text = policy.to_json(indent=None)
    at = data.draw(st.integers(0, len(text)))
    changed = (
        text[:at] + data.draw(st.text('{}[]":,0aFz\\null', max_size=3)) + text[at + data.draw(st.integers(0, 2)) :]
    )
    try:
        found = Policy.from_json(changed)
    except PolicyFormatError:
        return
    assert json.loads(found.to_json()) == json.loads(changed)


GOOD: dict[str, Any] = {"op": "PolicyNvWritten", "written": True}


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        "AuthValue",
        {},
        {"steps": {}},
        {"steps": None},
        {"steps": [], "more": 1},
        {"label": "x"},
        {"label": None, "steps": []},
        {"label": 7, "steps": []},
        {"label": "", "steps": []},
        {"label": "a\nb", "steps": []},
        {"label": "x" * 101, "steps": []},
        {"steps": [7]},
        {"steps": [{}]},
        {"steps": [{"op": None}]},
        {"steps": [{"op": ["PolicyOR"]}]},
        {"steps": [{"op": "PolicyUnknown"}]},
        {"steps": [{"op": "PolicyNvWritten"}]},
        {"steps": [{**GOOD, "more": 1}]},
        {"steps": [{**GOOD, "written": 1}]},
        {"steps": [{**GOOD, "written": None}]},
        {"steps": [{"op": "PolicyLocality", "localities": 256}]},
        {"steps": [{"op": "PolicyLocality", "localities": True}]},
        {"steps": [{"op": "PolicyLocality", "localities": 1.0}]},
        {"steps": [{"op": "PolicyLocality", "localities": "1"}]},
        {"steps": [{"op": "PolicyCpHash", "digest": "AB"}]},
        {"steps": [{"op": "PolicyCpHash", "digest": "abc"}]},
        {"steps": [{"op": "PolicyCpHash", "digest": " ab"}]},
        {"steps": [{"op": "PolicyCpHash", "digest": "00" * 65}]},
        {"steps": [{"op": "PolicyCpHash", "digest": None}]},
        {"steps": [{"op": "PolicyOR", "branches": []}]},
        {"steps": [{"op": "PolicyOR", "branches": [{"steps": []}]}]},
        {"steps": [{"op": "PolicyOR", "branches": [{"steps": []}, {"digest": "0"}]}]},
        {"steps": [{"op": "PolicyOR", "branches": [{"steps": []}, {"digest": "00", "label": "x"}]}]},
        {"steps": [{"op": "PolicyOR", "branches": {"a": 1}}]},
        {"steps": [{"op": "PolicyOR", "branches": [{"steps": []}] * 9}]},
        {"steps": [{"op": "PolicyPCR", "selection": "00", "values": None, "digest": "00" * 32}]},
        {"steps": [{"op": "PolicyPCR", "selection": "00000000", "values": None, "digest": None}]},
        {"steps": [{"op": "PolicyPCR", "selection": "00000000", "values": {}, "digest": "00"}]},
        {"steps": [{"op": "PolicyPCR", "selection": "00000000", "values": {"sha1": {"0": "00" * 20}}, "digest": None}]},
        {"steps": [{"op": "PolicyPCR", "selection": "00000001000403010000", "values": {}, "digest": None}]},
        {
            "steps": [
                {
                    "op": "PolicyPCR",
                    "selection": "00000001000403010000",
                    "values": {"sha1": {"0": "00"}},
                    "digest": None,
                }
            ]
        },
        {
            "steps": [
                {
                    "op": "PolicyPCR",
                    "selection": "00000001000403010000",
                    "values": {"sha1": {"00": "00" * 20}},
                    "digest": None,
                }
            ]
        },
        {"steps": [{"op": "PolicyPCR", "selection": "00000000", "values": {"md5": {}}, "digest": None}]},
        {"steps": [{"op": "PolicyPCR", "selection": "00000000", "values": [], "digest": None}]},
        {"steps": [{"op": "PolicyNV", "index": "00", "operand": "", "operation": 0, "offset": 0}]},
        {"steps": [{"op": "PolicyNV", "index": {"name": "00"}, "operand": "", "operation": 0, "offset": 0}]},
        {"steps": [{"op": "PolicyNV", "index": {"public": "00"}, "operand": "", "operation": 0, "offset": 0}]},
        {"steps": [{"op": "PolicyNV", "index": {"name": "40000001"}, "operand": "", "operation": 0, "offset": 0}]},
        {"steps": [{"op": "PolicyNV", "index": {"name": NAME.hex()}, "operand": "", "operation": 12, "offset": 0}]},
    ],
)
def test_what_is_no_policy_in_json(value: Any) -> None:
    with pytest.raises(PolicyFormatError):
        Policy.from_json(json.dumps(value))


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"steps": [], "steps": []}',
        '{"steps": [NaN]}',
        '{"steps": [Infinity]}',
        "[" * 100_000,
        '{"steps": [' * 3000,
        b"\xff",
        '{"steps": []}x',
        '{"steps": []}' + " " * (1 << 20),
        "1" * 5000,
    ],
)
def test_what_is_no_json(text: str | bytes) -> None:
    with pytest.raises(PolicyFormatError):
        Policy.from_json(text)


def test_what_is_no_text() -> None:
    for wrong in (None, 7, {"steps": []}, bytearray(b"{}")):
        with pytest.raises(TpmMisuseError):
            Policy.from_json(wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (CommandCode, [-1]),
        (CommandCode, ["Unsael"]),
        (CommandCode, [1 << 32]),
        (Locality, [256]),
        (Locality, [None]),
        (NvWritten, [1]),
        (NvWritten, [None]),
        (CpHash, ["text"]),
        (CpHash, [bytes(65)]),
        (NameHash, [None]),
        (Template, [7]),
        (DuplicationSelect, [b""]),
        (DuplicationSelect, [NAME, b"", True]),
        (DuplicationSelect, [NAME, OTHER, 1]),
        (DuplicationSelect, [NAME[:-1]]),
        (DuplicationSelect, [b"\x12\x34" + bytes(32)]),
        (DuplicationSelect, [0x80000001]),
        (PCR, ["sha256:0"]),
        (PCR, ["sha256:0", {"sha256": {0: ZERO}}, ZERO]),
        (PCR, ["sha256:0,1", {"sha256": {0: ZERO}}]),
        (PCR, ["sha256:0", {"sha256": {0: bytes(20)}}]),
        (PCR, ["sha256:0", {"sha256": [ZERO]}]),
        (PCR, ["sha256:0", {"md5": {}}]),
        (PCR, ["sha256:0", {"sha256": {"0": ZERO}}]),
        (PCR, ["sha256:0", (1, 2)]),
        (PCR, ["sha256:0", 7]),
        (PCR, ["sha256:24", {}]),
        (PCR, [None, {}]),
        (NV, [b"", b""]),
        (NV, [bytes.fromhex("40000001"), b""]),
        (NV, [0x01500000, b""]),
        (NV, [NAME, b"", "=>"]),
        (NV, [NAME, b"", 12]),
        (NV, [NAME, b"", 0, 65536]),
        (NV, [NAME, bytes(65)]),
        (NV, [NAME, None]),
        (CounterTimer, ["text"]),
        (CounterTimer, [b"", None]),
        (Secret, [None]),
        (Secret, [0x80000000]),
        (Secret, [NAME, bytes(65)]),
        (Secret, [NAME, b"", 1 << 31]),
        (Secret, [NAME, b"", 0, b"", None]),
        (Signed, [TPM_RH.OWNER]),
        (Signed, [NAME, b"", 0, b"", False, b""]),
        (Signed, [NAME, b"", 0, b"", True, bytes.fromhex("0005000b") + bytes(32)]),
        (Signed, [NAME, b"", 0, b"", False, TPMT_TK_AUTH.decode(bytes.fromhex("8023400000010000"))]),
        (Ticket, [NAME, b"", b""]),
        (Ticket, [NAME, bytes.fromhex("8022400000010000"), b""]),
        (OR, []),
        (OR, [AuthValue()]),
        (OR, [AuthValue()] * 9),
        (OR, [AuthValue(), None]),
        (OR, [AuthValue(), "text"]),
        (OR, [AuthValue(), bytes(65)]),
        (Authorize, [NAME, b"", b""]),
        (Authorize, [None]),
        (AuthorizeNV, [NAME, None]),
        (CounterTimer.of, ["clocks", "<", 1]),
        (CounterTimer.of, [None, "<", 1]),
        (CounterTimer.of, ["safe", "<", 256]),
        (CounterTimer.of, ["clock", "<=>", 1]),
        (CounterTimer.of, ["clock", [], 1]),
        (CounterTimer.of, ["clock", "<", "1"]),
        (Locality.of, []),
        (Locality.of, [5]),
        (Locality.of, [0, 32]),
        (Locality.of, ["0"]),
        (NameHash.of, ["sha256", [7]]),
        (NameHash.of, ["md5", []]),
        (Template.of, ["sha256", b""]),
        (CpHash.of, ["sha256", "x", [], b""]),
    ],
)
def test_what_steps_refuse(make: Callable[..., Any], arguments: list[Any]) -> None:
    with pytest.raises(PrestoCloudError) as caught:
        make(*arguments)
    assert type(caught.value).__module__.startswith("prestocloud_sec")


@pytest.mark.parametrize("label", ["", "a\n", "x" * 101, 7, b"x"])
def test_what_labels_refuse(label: Any) -> None:
    with pytest.raises(PolicyError):
        Policy(label=label)


def test_digests_of_another_hash_are_refused() -> None:
    for step in (CpHash(ZERO), PCR("sha256:0", digest=ZERO), OR(AuthValue(), ZERO)):
        assert Policy(step).digest("sha256")
        for hash in ("sha1", "sha512"):
            with pytest.raises(PolicyError, match="sha"):
                Policy(step).digest(hash)
    for hash in ("md5", 7, None):
        with pytest.raises(TpmMisuseError):
            Policy().digest(hash)  # type: ignore[arg-type]


def test_policies_are_not_nested_without_end() -> None:
    policy = Policy(AuthValue())
    for _ in range(15):
        policy = Policy(OR(policy, ZERO))
    with pytest.raises(PolicyError, match="in each other"):
        Policy(OR(policy, ZERO))
    assert policy.depth == 16
    assert Policy.from_json(policy.to_json()) == policy
    assert len(str(policy).splitlines()) == 1 + 3 * 15 + 1


def test_policies_are_frozen() -> None:
    policy = Policy(AuthValue())
    for name in ("steps", "label", "other"):
        with pytest.raises(AttributeError):
            setattr(policy, name, ())
        with pytest.raises(AttributeError):
            delattr(policy, name)
    with pytest.raises(AttributeError):
        Locality(1).localities = 2  # type: ignore[misc]


@given(steps())
def test_steps_print_on_one_line(step: Step) -> None:
    assert "\n" not in str(step)
    assert str(step).startswith(type(step).__name__)


def test_the_tree() -> None:
    policy = Policy(
        PCR("sha256:0", values={"sha256": {0: ZERO}}),
        OR(
            Policy(AuthValue(), CommandCode(0x15E), label="owner"),
            Policy(Signed(NAME, b"recover", with_nonce=True), label="recovery"),
            ZERO,
            Policy(),
        ),
        Authorize(NAME, approved=Policy(CounterTimer.of("clock", "<", 5), Secret(TPM_RH.ENDORSEMENT, expiration=-60))),  # type: ignore[arg-type]
        label="sealed",
    )
    assert str(policy) == "\n".join(
        [
            "policy 'sealed' of 3 steps",
            "├─ PCR sha256:0 = 0000000000000000…",
            "├─ OR of 4 branches",
            "│  ├─ branch 0 'owner'",
            "│  │  ├─ AuthValue",
            "│  │  └─ CommandCode Unseal",
            "│  ├─ branch 1 'recovery'",
            "│  │  └─ Signed by 000b000102030405… ref 7265636f766572, for one session",
            "│  ├─ branch 2: known by its digest, 0000000000000000…",
            "│  └─ branch 3: no steps",
            "└─ Authorize by 000b000102030405…",
            "   └─ approved",
            "      ├─ CounterTimer clock < 5",
            "      └─ Secret of endorsement for 60 s",
        ]
    )
