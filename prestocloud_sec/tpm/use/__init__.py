# SPDX-License-Identifier: Apache-2.0
"""What people do with a TPM, one call each, with safe defaults.

Every call takes a `Client` first. Secrets go to and from the TPM in sessions that are salted for one of its keys and
encrypt them; keys never leave it; what has to be kept outside is a value that goes to JSON and back.

>>> from prestocloud_sec.tpm import connect, use
>>> with connect("embedded:") as client:
...     kept = use.seal(client, b"a secret", pcrs="sha256:7").to_json()
...     use.unseal(client, use.WrappedObject.from_json(kept))
b'a secret'
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.tpm.use.attestation import Attestation as Attestation
    from prestocloud_sec.tpm.use.attestation import attest_time as attest_time
    from prestocloud_sec.tpm.use.attestation import certify as certify
    from prestocloud_sec.tpm.use.attestation import certify_creation as certify_creation
    from prestocloud_sec.tpm.use.attestation import certify_nv as certify_nv
    from prestocloud_sec.tpm.use.attestation import quote as quote
    from prestocloud_sec.tpm.use.audit import AuditTrail as AuditTrail
    from prestocloud_sec.tpm.use.audit import attest_commands as attest_commands
    from prestocloud_sec.tpm.use.audit import audited as audited
    from prestocloud_sec.tpm.use.audit import set_audited_commands as set_audited_commands
    from prestocloud_sec.tpm.use.crypto import decrypt_data as decrypt_data
    from prestocloud_sec.tpm.use.crypto import encrypt_data as encrypt_data
    from prestocloud_sec.tpm.use.crypto import hash_data as hash_data
    from prestocloud_sec.tpm.use.crypto import hmac_data as hmac_data
    from prestocloud_sec.tpm.use.endorsement import ek as ek
    from prestocloud_sec.tpm.use.endorsement import ek_certificate as ek_certificate
    from prestocloud_sec.tpm.use.endorsement import ek_chain as ek_chain
    from prestocloud_sec.tpm.use.endorsement import maker_certificates as maker_certificates
    from prestocloud_sec.tpm.use.endorsement import provision_ek as provision_ek
    from prestocloud_sec.tpm.use.keys import create_ak as create_ak
    from prestocloud_sec.tpm.use.keys import create_key as create_key
    from prestocloud_sec.tpm.use.keys import load_key as load_key
    from prestocloud_sec.tpm.use.keys import open_key as open_key
    from prestocloud_sec.tpm.use.nv.counting import NvBits as NvBits
    from prestocloud_sec.tpm.use.nv.counting import NvCounter as NvCounter
    from prestocloud_sec.tpm.use.nv.counting import NvExtend as NvExtend
    from prestocloud_sec.tpm.use.nv.data import NvData as NvData
    from prestocloud_sec.tpm.use.nv.pins import NvPinFail as NvPinFail
    from prestocloud_sec.tpm.use.nv.pins import NvPinPass as NvPinPass
    from prestocloud_sec.tpm.use.nv.space import read_nv as read_nv
    from prestocloud_sec.tpm.use.objects import create as create
    from prestocloud_sec.tpm.use.objects import load as load
    from prestocloud_sec.tpm.use.objects import persist as persist
    from prestocloud_sec.tpm.use.objects import primary as primary
    from prestocloud_sec.tpm.use.objects import provision_srk as provision_srk
    from prestocloud_sec.tpm.use.objects import srk as srk
    from prestocloud_sec.tpm.use.pcrs import extend_pcr as extend_pcr
    from prestocloud_sec.tpm.use.pcrs import foretell as foretell
    from prestocloud_sec.tpm.use.pcrs import foretell_log as foretell_log
    from prestocloud_sec.tpm.use.pcrs import pcr_banks as pcr_banks
    from prestocloud_sec.tpm.use.pcrs import read_pcrs as read_pcrs
    from prestocloud_sec.tpm.use.policies import policy_session as policy_session
    from prestocloud_sec.tpm.use.policies import run_policy as run_policy
    from prestocloud_sec.tpm.use.private_keys import EccKey as EccKey
    from prestocloud_sec.tpm.use.private_keys import RsaKey as RsaKey
    from prestocloud_sec.tpm.use.random import random_bytes as random_bytes
    from prestocloud_sec.tpm.use.random import stir as stir
    from prestocloud_sec.tpm.use.sealing import reseal as reseal
    from prestocloud_sec.tpm.use.sealing import seal as seal
    from prestocloud_sec.tpm.use.sealing import unseal as unseal
    from prestocloud_sec.tpm.use.templates import ak_template as ak_template
    from prestocloud_sec.tpm.use.templates import ek_template as ek_template
    from prestocloud_sec.tpm.use.templates import hmac_template as hmac_template
    from prestocloud_sec.tpm.use.templates import key_template as key_template
    from prestocloud_sec.tpm.use.templates import sealed_template as sealed_template
    from prestocloud_sec.tpm.use.templates import srk_template as srk_template
    from prestocloud_sec.tpm.use.templates import storage_template as storage_template
    from prestocloud_sec.tpm.use.templates import symmetric_template as symmetric_template
    from prestocloud_sec.tpm.use.transfer import activate as activate
    from prestocloud_sec.tpm.use.transfer import duplicate as duplicate
    from prestocloud_sec.tpm.use.transfer import import_duplicate as import_duplicate
    from prestocloud_sec.tpm.use.transfer import import_key as import_key
    from prestocloud_sec.tpm.use.transfer import import_secret as import_secret
    from prestocloud_sec.tpm.use.transfer import movable_policy as movable_policy
    from prestocloud_sec.tpm.use.wrapped import Creation as Creation
    from prestocloud_sec.tpm.use.wrapped import WrappedObject as WrappedObject

_HOMES: dict[str, str] = {
    "Attestation": "attestation",
    "AuditTrail": "audit",
    "Creation": "wrapped",
    "EccKey": "private_keys",
    "NvBits": "nv.counting",
    "NvCounter": "nv.counting",
    "NvData": "nv.data",
    "NvExtend": "nv.counting",
    "NvPinFail": "nv.pins",
    "NvPinPass": "nv.pins",
    "RsaKey": "private_keys",
    "WrappedObject": "wrapped",
    "activate": "transfer",
    "ak_template": "templates",
    "attest_commands": "audit",
    "attest_time": "attestation",
    "audited": "audit",
    "certify": "attestation",
    "certify_creation": "attestation",
    "certify_nv": "attestation",
    "create": "objects",
    "create_ak": "keys",
    "create_key": "keys",
    "decrypt_data": "crypto",
    "duplicate": "transfer",
    "ek": "endorsement",
    "ek_certificate": "endorsement",
    "ek_chain": "endorsement",
    "ek_template": "templates",
    "encrypt_data": "crypto",
    "extend_pcr": "pcrs",
    "foretell": "pcrs",
    "foretell_log": "pcrs",
    "hash_data": "crypto",
    "hmac_data": "crypto",
    "hmac_template": "templates",
    "import_duplicate": "transfer",
    "import_key": "transfer",
    "import_secret": "transfer",
    "key_template": "templates",
    "load": "objects",
    "load_key": "keys",
    "maker_certificates": "endorsement",
    "movable_policy": "transfer",
    "open_key": "keys",
    "pcr_banks": "pcrs",
    "persist": "objects",
    "policy_session": "policies",
    "primary": "objects",
    "provision_ek": "endorsement",
    "provision_srk": "objects",
    "quote": "attestation",
    "random_bytes": "random",
    "read_nv": "nv.space",
    "read_pcrs": "pcrs",
    "reseal": "sealing",
    "run_policy": "policies",
    "seal": "sealing",
    "sealed_template": "templates",
    "set_audited_commands": "audit",
    "srk": "objects",
    "srk_template": "templates",
    "stir": "random",
    "storage_template": "templates",
    "symmetric_template": "templates",
    "unseal": "sealing",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
