# SPDX-License-Identifier: Apache-2.0
"""The attribute words of TPM 2.0 (Library, Part 2, clauses 8 and 13), and what revision 1.84 adds to them.

Every bit has the name of its table; bits without a name are reserved, and have to be zero.
"""

from __future__ import annotations

from prestocloud_sec.tpm.spec.constants import TPM_NT
from prestocloud_sec.tpm.spec.declare import Attributes, constant

__all__ = [
    "TPMA_ACT",
    "TPMA_ALGORITHM",
    "TPMA_CC",
    "TPMA_LOCALITY",
    "TPMA_MEMORY",
    "TPMA_MODES",
    "TPMA_NV",
    "TPMA_NV_EXP",
    "TPMA_OBJECT",
    "TPMA_PERMANENT",
    "TPMA_SESSION",
    "TPMA_STARTUP_CLEAR",
    "TPMA_X509_KEY_USAGE",
    "TPM_NV_INDEX",
]


@constant("I", reserved=0xFFFFF8F0)
class TPMA_ALGORITHM(Attributes):
    """What an algorithm is and does (Part 2, 8.2, table 30)."""

    asymmetric = 1 << 0  # public and private part
    symmetric = 1 << 1  # one key for both directions
    hash = 1 << 2  # a hash
    object = 1 << 3  # can be the type of an object
    signing = 1 << 8  # signs
    encrypting = 1 << 9  # encrypts
    method = 1 << 10  # a method, such as a key derivation


@constant("I", reserved=0xFFF0F001)
class TPMA_OBJECT(Attributes):
    """What an object may be used for, and how it is authorized (Part 2, 8.3, table 31)."""

    fixedTPM = 1 << 1  # never leaves this TPM
    stClear = 1 << 2  # saved contexts end with TPM2_Startup(CLEAR)
    fixedFirmware = 1 << 3  # never leaves this firmware
    fixedParent = 1 << 4  # never gets another parent
    sensitiveDataOrigin = 1 << 5  # the TPM made the secret part
    userWithAuth = 1 << 6  # the authValue is enough for the USER role
    adminWithPolicy = 1 << 7  # the ADMIN role needs a policy
    firmwareLimited = 1 << 8  # below a hierarchy that is bound to the firmware
    svnLimited = 1 << 9  # below a hierarchy that is bound to a security version
    noDA = 1 << 10  # wrong authorizations are not counted
    encryptedDuplication = 1 << 11  # duplicated only with an inner and an outer wrapper
    restricted = 1 << 16  # only on data of a known form
    decrypt = 1 << 17  # the secret part decrypts
    sign_encrypt = 1 << 18  # the secret part signs, or encrypts with a block cipher
    x509sign = 1 << 19  # may only sign certificates


@constant("B", reserved=0x18)
class TPMA_SESSION(Attributes):
    """How a session is used for one command; the response says what became of it (Part 2, 8.4, table 32)."""

    continueSession = 1 << 0  # the session goes on after the command
    auditExclusive = 1 << 1  # only if the session is the exclusive audit session
    auditReset = 1 << 2  # start the audit digest anew
    decrypt = 1 << 5  # the first parameter of the command is encrypted
    encrypt = 1 << 6  # the first parameter of the response is encrypted
    audit = 1 << 7  # add the command to the audit digest


@constant("B")
class TPMA_LOCALITY(Attributes):
    """Localities: one bit each for 0 to 4, or one number for those from 32 on (Part 2, 8.5, table 33)."""

    TPM_LOC_ZERO = 1 << 0  # locality 0
    TPM_LOC_ONE = 1 << 1  # locality 1
    TPM_LOC_TWO = 1 << 2  # locality 2
    TPM_LOC_THREE = 1 << 3  # locality 3
    TPM_LOC_FOUR = 1 << 4  # locality 4
    Extended = 0xE0  # where not 0, the whole byte is the number of one locality


@constant("I", reserved=0xFFFFF8F8)
class TPMA_PERMANENT(Attributes):
    """State that survives a start (Part 2, 8.6, table 34)."""

    ownerAuthSet = 1 << 0  # ownerAuth was changed
    endorsementAuthSet = 1 << 1  # endorsementAuth was changed
    lockoutAuthSet = 1 << 2  # lockoutAuth was changed
    disableClear = 1 << 8  # TPM2_Clear is disabled
    inLockout = 1 << 9  # dictionary-attack lockout
    tpmGeneratedEPS = 1 << 10  # the TPM made its endorsement seed


@constant("I", reserved=0x7FFFFFE0)
class TPMA_STARTUP_CLEAR(Attributes):
    """State that TPM2_Startup sets (Part 2, 8.7, table 35)."""

    phEnable = 1 << 0  # the platform hierarchy is enabled
    shEnable = 1 << 1  # the storage hierarchy is enabled
    ehEnable = 1 << 2  # the endorsement hierarchy is enabled
    phEnableNV = 1 << 3  # NV indices of the platform can be used
    readOnly = 1 << 4  # the TPM is in read-only mode
    orderly = 1 << 31  # the last shutdown was orderly


@constant("I", reserved=0xFFFFFFF8)
class TPMA_MEMORY(Attributes):
    """How a TPM uses its memory (Part 2, 8.8, table 36)."""

    sharedRAM = 1 << 0  # objects and sessions share RAM
    sharedNV = 1 << 1  # persistent objects and NV indices share NV
    objectCopiedToRam = 1 << 2  # a persistent object in use takes up RAM


@constant("I", reserved=0xC03F0000)
class TPMA_CC(Attributes):
    """A command code, and what its command does (Part 2, 8.9, table 37)."""

    commandIndex = 0x0000FFFF  # the lower half of the command code
    nv = 1 << 22  # may write to NV
    extensive = 1 << 23  # may flush any number of objects
    flushed = 1 << 24  # the object that it uses is gone afterwards
    cHandles = 0x0E000000  # handles of the command
    rHandle = 1 << 28  # the response has a handle
    V = 1 << 29  # a command of the vendor


@constant("I", reserved=0xFFFFFFF0)
class TPMA_MODES(Attributes):
    """Modes that a TPM was evaluated in (Part 2, 8.10, table 38)."""

    FIPS_140_2 = 1 << 0  # FIPS 140-2, level 1
    FIPS_140_3 = 1 << 1  # FIPS 140-3
    FIPS_140_3_INDICATOR = 0x0000000C  # whether the last command ran an approved service


@constant("I", reserved=0x007FFFFF)
class TPMA_X509_KEY_USAGE(Attributes):
    """The key usage extension of an X.509 certificate (Part 2, 8.11, table 39)."""

    decipherOnly = 1 << 23  # only deciphers, in key agreement
    encipherOnly = 1 << 24  # only enciphers, in key agreement
    cRLSign = 1 << 25  # signs revocation lists
    keyCertSign = 1 << 26  # signs certificates
    keyAgreement = 1 << 27  # agrees on keys
    dataEncipherment = 1 << 28  # enciphers data
    keyEncipherment = 1 << 29  # enciphers keys
    nonrepudiation = 1 << 30  # signs what cannot be denied
    contentCommitment = 1 << 30  # the same, under its newer name
    digitalSignature = 1 << 31  # signs


@constant("I", reserved=0xFFFFFFFC)
class TPMA_ACT(Attributes):
    """State of an authenticated countdown timer (Part 2, 8.12, table 40)."""

    signaled = 1 << 0  # the timer ran out
    preserveSignaled = 1 << 1  # keep that over a start


@constant("I")
class TPM_NV_INDEX(Attributes):
    """The parts of the handle of an NV index (Part 2, 13.1, table 212)."""

    index = 0x00FFFFFF  # number of the index
    RH_NV = 0xFF000000  # handle type, TPM_HT.NV_INDEX


@constant("I", reserved=0x01F00300)
class TPMA_NV(Attributes):
    """What an NV index is, who may read and write it, and its state (Part 2, 13.4, table 215)."""

    PPWRITE = 1 << 0  # platformAuth may write
    OWNERWRITE = 1 << 1  # ownerAuth may write
    AUTHWRITE = 1 << 2  # the authValue of the index may write
    POLICYWRITE = 1 << 3  # the policy of the index may write
    TPM_NT = 0x000000F0  # type of the index
    POLICY_DELETE = 1 << 10  # only TPM2_NV_UndefineSpaceSpecial deletes it
    WRITELOCKED = 1 << 11  # locked against writing
    WRITEALL = 1 << 12  # only whole writes
    WRITEDEFINE = 1 << 13  # can be locked against writing for good
    WRITE_STCLEAR = 1 << 14  # can be locked against writing until the next start
    GLOBALLOCK = 1 << 15  # TPM2_NV_GlobalWriteLock locks it
    PPREAD = 1 << 16  # platformAuth may read
    OWNERREAD = 1 << 17  # ownerAuth may read
    AUTHREAD = 1 << 18  # the authValue of the index may read
    POLICYREAD = 1 << 19  # the policy of the index may read
    NO_DA = 1 << 25  # wrong authorizations are not counted
    ORDERLY = 1 << 26  # kept in RAM, saved at shutdown
    CLEAR_STCLEAR = 1 << 27  # unwritten again after TPM2_Startup(CLEAR)
    READLOCKED = 1 << 28  # locked against reading
    WRITTEN = 1 << 29  # was written
    PLATFORMCREATE = 1 << 30  # the platform defined it
    READ_STCLEAR = 1 << 31  # can be locked against reading until the next start

    @property
    def nt(self) -> int:
        """The type of the index: a `TPM_NT`, or a plain number that no revision has."""
        number = self.field("TPM_NT")
        return TPM_NT(number) if number in TPM_NT.__members__.values() else number


@constant("Q", reserved=0xFFFFFFF801F00300)
class TPMA_NV_EXP(Attributes):
    """The 64-bit attributes of an NV index: TPMA_NV, and those of an index outside (Part 2, 13.4 of revision 1.83)."""

    PPWRITE = 1 << 0  # platformAuth may write
    OWNERWRITE = 1 << 1  # ownerAuth may write
    AUTHWRITE = 1 << 2  # the authValue of the index may write
    POLICYWRITE = 1 << 3  # the policy of the index may write
    TPM_NT = 0x00000000000000F0  # type of the index
    POLICY_DELETE = 1 << 10  # only TPM2_NV_UndefineSpaceSpecial deletes it
    WRITELOCKED = 1 << 11  # locked against writing
    WRITEALL = 1 << 12  # only whole writes
    WRITEDEFINE = 1 << 13  # can be locked against writing for good
    WRITE_STCLEAR = 1 << 14  # can be locked against writing until the next start
    GLOBALLOCK = 1 << 15  # TPM2_NV_GlobalWriteLock locks it
    PPREAD = 1 << 16  # platformAuth may read
    OWNERREAD = 1 << 17  # ownerAuth may read
    AUTHREAD = 1 << 18  # the authValue of the index may read
    POLICYREAD = 1 << 19  # the policy of the index may read
    NO_DA = 1 << 25  # wrong authorizations are not counted
    ORDERLY = 1 << 26  # kept in RAM, saved at shutdown
    CLEAR_STCLEAR = 1 << 27  # unwritten again after TPM2_Startup(CLEAR)
    READLOCKED = 1 << 28  # locked against reading
    WRITTEN = 1 << 29  # was written
    PLATFORMCREATE = 1 << 30  # the platform defined it
    READ_STCLEAR = 1 << 31  # can be locked against reading until the next start
    EXTERNAL_NV_ENCRYPTION = 1 << 32  # the bytes outside are encrypted
    EXTERNAL_NV_INTEGRITY = 1 << 33  # the bytes outside are protected against changes
    EXTERNAL_NV_ANTIROLLBACK = 1 << 34  # the bytes outside are protected against older copies

    @property
    def nt(self) -> int:
        """The type of the index: a `TPM_NT`, or a plain number that no revision has."""
        number = self.field("TPM_NT")
        return TPM_NT(number) if number in TPM_NT.__members__.values() else number
