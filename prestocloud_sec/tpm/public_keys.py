# SPDX-License-Identifier: Apache-2.0
"""Public areas of asymmetric keys, and the same keys as pyca/cryptography has them.

Source: TPM 2.0 Library, Part 2, 12.2.4 (TPMT_PUBLIC); TCG Algorithm Registry, table of ECC curves.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from prestocloud_sec.tpm.errors import TpmMisuseError, TpmUnavailableError, VerificationError
from prestocloud_sec.wire import shown

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurve, EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

    from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC

    PublicKey: TypeAlias = RSAPublicKey | EllipticCurvePublicKey

__all__ = ["curve_number", "curve_of", "public_key_of"]

_ALG_RSA, _ALG_ECC = 0x0001, 0x0023
_DEFAULT_EXPONENT = 65537

_CURVES = {
    0x0001: "SECP192R1",
    0x0002: "SECP224R1",
    0x0003: "SECP256R1",
    0x0004: "SECP384R1",
    0x0005: "SECP521R1",
    0x0030: "BrainpoolP256R1",
    0x0031: "BrainpoolP384R1",
    0x0032: "BrainpoolP512R1",
}
"""The curves that pyca/cryptography has, by TPM_ECC_CURVE; neither Barreto-Naehrig nor SM2."""


def curve_of(number: int) -> EllipticCurve:
    """Return a curve.

    Parameters
    ----------
    number : int
        Its TPM_ECC_CURVE.

    Raises
    ------
    TpmUnavailableError
        If pyca/cryptography has no such curve.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    try:
        name = _CURVES[number]
    except Exception:  # not there, or whatever a foreign __hash__ raises
        raise TpmUnavailableError(
            f"no curve {shown(number)} in pyca/cryptography", where="curveID", expected="a NIST or Brainpool curve"
        ) from None
    curve: EllipticCurve = getattr(ec, name)()
    return curve


def curve_number(curve: EllipticCurve) -> int:
    """Return the TPM_ECC_CURVE of a curve of pyca/cryptography.

    Raises
    ------
    TpmMisuseError
        If a TPM knows no such curve.
    """
    from cryptography.hazmat.primitives.asymmetric import ec

    name = curve.name if isinstance(curve, ec.EllipticCurve) else curve
    for number in _CURVES if isinstance(curve, ec.EllipticCurve) else ():
        if curve_of(number).name == name:
            return number
    raise TpmMisuseError(
        f"{shown(name)} is no curve that TPMs have", where="curve", expected=", ".join(_CURVES.values())
    )


def public_key_of(public: TPMT_PUBLIC) -> PublicKey:
    """Return the key of a public area.

    Parameters
    ----------
    public : TPMT_PUBLIC
        An RSA or ECC key.

    Raises
    ------
    VerificationError
        If the numbers make no key: a modulus of another size than it says, a point that is not on the curve.
    TpmMisuseError
        If it is no public area of an asymmetric key.
    TpmUnavailableError
        If pyca/cryptography has no such curve.
    """
    from prestocloud_sec.tpm.spec.structures.objects import TPMT_PUBLIC

    if not isinstance(public, TPMT_PUBLIC) or public.type not in (_ALG_RSA, _ALG_ECC):
        what = f"type {shown(public.type)}" if isinstance(public, TPMT_PUBLIC) else type(public).__name__
        raise TpmMisuseError(f"{what} is no asymmetric key", where="public", expected="a TPMT_PUBLIC of RSA or ECC")
    return (_rsa if public.type == _ALG_RSA else _ecc)(public.parameters, public.unique)


def _rsa(parameters: Any, unique: Any) -> RSAPublicKey:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    modulus, bits = int.from_bytes(unique, "big"), parameters.keyBits
    if modulus.bit_length() != bits:
        raise VerificationError(f"a modulus of {modulus.bit_length()} bits", where="unique", expected=f"{bits}")
    try:
        return RSAPublicNumbers(parameters.exponent or _DEFAULT_EXPONENT, modulus).public_key()
    except ValueError as error:
        raise VerificationError("no RSA key", where="public", expected="an odd modulus and exponent") from error


def _ecc(parameters: Any, unique: Any) -> EllipticCurvePublicKey:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicNumbers

    curve = curve_of(parameters.curveID)
    x, y = (int.from_bytes(part, "big") for part in (unique.x, unique.y))
    try:
        return EllipticCurvePublicNumbers(x, y, curve).public_key()
    except ValueError as error:
        raise VerificationError(
            "the point is not on the curve", where="unique", expected=f"one on {curve.name}"
        ) from error
