# SPDX-License-Identifier: Apache-2.0
"""The constants of TPM 2.0 (Library, Part 2, clauses 6, 7, 13 and 16), and those added up to revision 1.84.

Members are named as in the tables, without the prefix of their type. An enumeration whose numbers a TPM checks is
closed; the others are open, and a number they do not have stays a plain integer.
"""

from __future__ import annotations

from enum import IntEnum

from prestocloud_sec.tpm.spec.declare import constant

__all__ = [
    "TPM_AE",
    "TPM_ALG_ID",
    "TPM_AT",
    "TPM_CAP",
    "TPM_CC",
    "TPM_CLOCK_ADJUST",
    "TPM_CONSTANTS32",
    "TPM_ECC_CURVE",
    "TPM_EO",
    "TPM_GENERATED",
    "TPM_HC",
    "TPM_HT",
    "TPM_NT",
    "TPM_PS",
    "TPM_PT",
    "TPM_PT_PCR",
    "TPM_PUB_KEY",
    "TPM_RC",
    "TPM_RH",
    "TPM_SE",
    "TPM_SPEC",
    "TPM_ST",
    "TPM_SU",
]


@constant("I")
class TPM_SPEC(IntEnum):
    """The revision of the library specification that these tables follow first (Part 2, 6.1, table 6)."""

    FAMILY = 0x322E3000  # the text "2.0" and a zero byte
    LEVEL = 0x00000000  # level of the specification
    VERSION = 0x000000A2  # revision times 100
    YEAR = 0x000007E3  # when it was published
    DAY_OF_YEAR = 0x00000168  # when it was published


@constant("I", rc=0x084)
class TPM_GENERATED(IntEnum):
    """What every structure starts with that a TPM made and signs (Part 2, 6.2, table 7)."""

    VALUE = 0xFF544347  # 0xFF, then "TCG"


@constant("H")
class TPM_ALG_ID(IntEnum):
    """Algorithms, modes and schemes (Part 2, 6.3, table 9)."""

    ERROR = 0x0000  # never a valid algorithm
    RSA = 0x0001  # asymmetric, object type
    TDES = 0x0003  # block cipher, triple DES
    SHA1 = 0x0004  # hash, 20 bytes
    HMAC = 0x0005  # keyed hash signing scheme
    AES = 0x0006  # block cipher
    MGF1 = 0x0007  # mask generation from a hash
    KEYEDHASH = 0x0008  # object type: HMAC key, or sealed data
    XOR = 0x000A  # obfuscation by a mask from KDFa
    SHA256 = 0x000B  # hash, 32 bytes
    SHA384 = 0x000C  # hash, 48 bytes
    SHA512 = 0x000D  # hash, 64 bytes
    SHA256_192 = 0x000E  # SHA-256 cut to 24 bytes
    NULL = 0x0010  # no algorithm
    SM3_256 = 0x0012  # hash, 32 bytes
    SM4 = 0x0013  # block cipher
    RSASSA = 0x0014  # signing scheme, PKCS #1 v1.5
    RSAES = 0x0015  # encryption scheme, PKCS #1 v1.5
    RSAPSS = 0x0016  # signing scheme, PKCS #1 v2.1
    OAEP = 0x0017  # encryption scheme, PKCS #1 v2.1
    ECDSA = 0x0018  # signing scheme
    ECDH = 0x0019  # key agreement, one or two passes
    ECDAA = 0x001A  # signing scheme for anonymous attestation
    SM2 = 0x001B  # signing scheme, or key agreement
    ECSCHNORR = 0x001C  # signing scheme, Schnorr
    ECMQV = 0x001D  # key agreement, two phases
    KDF1_SP800_56A = 0x0020  # concatenating key derivation
    KDF2 = 0x0021  # key derivation of IEEE 1363a
    KDF1_SP800_108 = 0x0022  # counter-mode key derivation
    ECC = 0x0023  # asymmetric, object type
    SYMCIPHER = 0x0025  # object type: key of a block cipher
    CAMELLIA = 0x0026  # block cipher
    SHA3_256 = 0x0027  # hash, 32 bytes
    SHA3_384 = 0x0028  # hash, 48 bytes
    SHA3_512 = 0x0029  # hash, 64 bytes
    SHAKE128 = 0x002A  # extendable-output function
    SHAKE256 = 0x002B  # extendable-output function
    SHAKE256_192 = 0x002C  # SHAKE256, 24 bytes of output
    SHAKE256_256 = 0x002D  # SHAKE256, 32 bytes of output
    SHAKE256_512 = 0x002E  # SHAKE256, 64 bytes of output
    CMAC = 0x003F  # block cipher MAC
    CTR = 0x0040  # counter mode
    OFB = 0x0041  # output feedback mode
    CBC = 0x0042  # cipher block chaining mode
    CFB = 0x0043  # cipher feedback mode
    ECB = 0x0044  # electronic codebook mode
    CCM = 0x0050  # authenticated mode, counter with CBC-MAC
    GCM = 0x0051  # authenticated mode, Galois/counter
    KW = 0x0052  # key wrap
    KWP = 0x0053  # key wrap with padding
    EAX = 0x0054  # authenticated mode
    EDDSA = 0x0060  # signing scheme, Edwards curves
    EDDSA_PH = 0x0061  # the same over a digest
    LMS = 0x0070  # hash-based signing scheme
    XMSS = 0x0071  # hash-based signing scheme
    SHA = 0x0004  # the same, under its old name
    FIRST = 0x0001  # the least that is assigned
    LAST = 0x0071  # the greatest that is assigned


@constant("H")
class TPM_ECC_CURVE(IntEnum):
    """Elliptic curves (Part 2, 6.4, table 10)."""

    NONE = 0x0000  # no curve
    NIST_P192 = 0x0001
    NIST_P224 = 0x0002
    NIST_P256 = 0x0003
    NIST_P384 = 0x0004
    NIST_P521 = 0x0005
    BN_P256 = 0x0010  # Barreto-Naehrig, for ECDAA
    BN_P638 = 0x0011  # Barreto-Naehrig, for ECDAA
    SM2_P256 = 0x0020
    TEST_P192 = 0x0021  # for tests only
    BP_P256_R1 = 0x0030  # Brainpool
    BP_P384_R1 = 0x0031  # Brainpool
    BP_P512_R1 = 0x0032  # Brainpool
    CURVE_25519 = 0x0040
    CURVE_448 = 0x0041


@constant("I")
class TPM_CC(IntEnum):
    """Command codes (Part 2, 6.5.2, table 12)."""

    NV_UndefineSpaceSpecial = 0x11F
    EvictControl = 0x120
    HierarchyControl = 0x121
    NV_UndefineSpace = 0x122
    ChangeEPS = 0x124
    ChangePPS = 0x125
    Clear = 0x126
    ClearControl = 0x127
    ClockSet = 0x128
    HierarchyChangeAuth = 0x129
    NV_DefineSpace = 0x12A
    PCR_Allocate = 0x12B
    PCR_SetAuthPolicy = 0x12C
    PP_Commands = 0x12D
    SetPrimaryPolicy = 0x12E
    FieldUpgradeStart = 0x12F
    ClockRateAdjust = 0x130
    CreatePrimary = 0x131
    NV_GlobalWriteLock = 0x132
    GetCommandAuditDigest = 0x133
    NV_Increment = 0x134
    NV_SetBits = 0x135
    NV_Extend = 0x136
    NV_Write = 0x137
    NV_WriteLock = 0x138
    DictionaryAttackLockReset = 0x139
    DictionaryAttackParameters = 0x13A
    NV_ChangeAuth = 0x13B
    PCR_Event = 0x13C
    PCR_Reset = 0x13D
    SequenceComplete = 0x13E
    SetAlgorithmSet = 0x13F
    SetCommandCodeAuditStatus = 0x140
    FieldUpgradeData = 0x141
    IncrementalSelfTest = 0x142
    SelfTest = 0x143
    Startup = 0x144
    Shutdown = 0x145
    StirRandom = 0x146
    ActivateCredential = 0x147
    Certify = 0x148
    PolicyNV = 0x149
    CertifyCreation = 0x14A
    Duplicate = 0x14B
    GetTime = 0x14C
    GetSessionAuditDigest = 0x14D
    NV_Read = 0x14E
    NV_ReadLock = 0x14F
    ObjectChangeAuth = 0x150
    PolicySecret = 0x151
    Rewrap = 0x152
    Create = 0x153
    ECDH_ZGen = 0x154
    HMAC = 0x155
    MAC = 0x155
    Import = 0x156
    Load = 0x157
    Quote = 0x158
    RSA_Decrypt = 0x159
    HMAC_Start = 0x15B
    MAC_Start = 0x15B
    SequenceUpdate = 0x15C
    Sign = 0x15D
    Unseal = 0x15E
    PolicySigned = 0x160
    ContextLoad = 0x161
    ContextSave = 0x162
    ECDH_KeyGen = 0x163
    EncryptDecrypt = 0x164
    FlushContext = 0x165
    LoadExternal = 0x167
    MakeCredential = 0x168
    NV_ReadPublic = 0x169
    PolicyAuthorize = 0x16A
    PolicyAuthValue = 0x16B
    PolicyCommandCode = 0x16C
    PolicyCounterTimer = 0x16D
    PolicyCpHash = 0x16E
    PolicyLocality = 0x16F
    PolicyNameHash = 0x170
    PolicyOR = 0x171
    PolicyTicket = 0x172
    ReadPublic = 0x173
    RSA_Encrypt = 0x174
    StartAuthSession = 0x176
    VerifySignature = 0x177
    ECC_Parameters = 0x178
    FirmwareRead = 0x179
    GetCapability = 0x17A
    GetRandom = 0x17B
    GetTestResult = 0x17C
    Hash = 0x17D
    PCR_Read = 0x17E
    PolicyPCR = 0x17F
    PolicyRestart = 0x180
    ReadClock = 0x181
    PCR_Extend = 0x182
    PCR_SetAuthValue = 0x183
    NV_Certify = 0x184
    EventSequenceComplete = 0x185
    HashSequenceStart = 0x186
    PolicyPhysicalPresence = 0x187
    PolicyDuplicationSelect = 0x188
    PolicyGetDigest = 0x189
    TestParms = 0x18A
    Commit = 0x18B
    PolicyPassword = 0x18C
    ZGen_2Phase = 0x18D
    EC_Ephemeral = 0x18E
    PolicyNvWritten = 0x18F
    PolicyTemplate = 0x190
    CreateLoaded = 0x191
    PolicyAuthorizeNV = 0x192
    EncryptDecrypt2 = 0x193
    AC_GetCapability = 0x194
    AC_Send = 0x195
    Policy_AC_SendSelect = 0x196
    CertifyX509 = 0x197
    ACT_SetTimeout = 0x198
    ECC_Encrypt = 0x199
    ECC_Decrypt = 0x19A
    PolicyCapability = 0x19B
    PolicyParameters = 0x19C
    NV_DefineSpace2 = 0x19D
    NV_ReadPublic2 = 0x19E
    SetCapability = 0x19F
    ReadOnlyControl = 0x1A0
    PolicyTransportSPDM = 0x1A1
    CC_VEND = 0x20000000  # the bit that codes of vendors have
    Vendor_TCG_Test = 0x20000000  # the vendor command of the TCG's own tests
    FIRST = 0x11F  # the least
    LAST = 0x19A  # the greatest of revision 1.59


@constant("I")
class TPM_RC(IntEnum):
    """Response codes, and the pieces that they are put together from (Part 2, 6.6.3, table 16)."""

    SUCCESS = 0x000  # the command was carried out
    BAD_TAG = 0x01E
    INITIALIZE = 0x100
    FAILURE = 0x101
    SEQUENCE = 0x103
    PRIVATE = 0x10B
    HMAC = 0x119
    DISABLED = 0x120
    EXCLUSIVE = 0x121
    AUTH_TYPE = 0x124
    AUTH_MISSING = 0x125
    POLICY = 0x126
    PCR = 0x127
    PCR_CHANGED = 0x128
    UPGRADE = 0x12D
    TOO_MANY_CONTEXTS = 0x12E
    AUTH_UNAVAILABLE = 0x12F
    REBOOT = 0x130
    UNBALANCED = 0x131
    COMMAND_SIZE = 0x142
    COMMAND_CODE = 0x143
    AUTHSIZE = 0x144
    AUTH_CONTEXT = 0x145
    NV_RANGE = 0x146
    NV_SIZE = 0x147
    NV_LOCKED = 0x148
    NV_AUTHORIZATION = 0x149
    NV_UNINITIALIZED = 0x14A
    NV_SPACE = 0x14B
    NV_DEFINED = 0x14C
    BAD_CONTEXT = 0x150
    CPHASH = 0x151
    PARENT = 0x152
    NEEDS_TEST = 0x153
    NO_RESULT = 0x154
    SENSITIVE = 0x155
    READ_ONLY = 0x156
    ASYMMETRIC = 0x081
    ATTRIBUTES = 0x082
    HASH = 0x083
    VALUE = 0x084
    HIERARCHY = 0x085
    KEY_SIZE = 0x087
    MGF = 0x088
    MODE = 0x089
    TYPE = 0x08A
    HANDLE = 0x08B
    KDF = 0x08C
    RANGE = 0x08D
    AUTH_FAIL = 0x08E
    NONCE = 0x08F
    PP = 0x090
    SCHEME = 0x092
    SIZE = 0x095
    SYMMETRIC = 0x096
    TAG = 0x097
    SELECTOR = 0x098
    INSUFFICIENT = 0x09A
    SIGNATURE = 0x09B
    KEY = 0x09C
    POLICY_FAIL = 0x09D
    INTEGRITY = 0x09F
    TICKET = 0x0A0
    RESERVED_BITS = 0x0A1
    BAD_AUTH = 0x0A2
    EXPIRED = 0x0A3
    POLICY_CC = 0x0A4
    BINDING = 0x0A5
    CURVE = 0x0A6
    ECC_POINT = 0x0A7
    FW_LIMITED = 0x0A8
    SVN_LIMITED = 0x0A9
    CHANNEL = 0x0B0
    CHANNEL_KEY = 0x0B1
    CONTEXT_GAP = 0x901
    OBJECT_MEMORY = 0x902
    SESSION_MEMORY = 0x903
    MEMORY = 0x904
    SESSION_HANDLES = 0x905
    OBJECT_HANDLES = 0x906
    LOCALITY = 0x907
    YIELDED = 0x908
    CANCELED = 0x909
    TESTING = 0x90A
    REFERENCE_H0 = 0x910
    REFERENCE_H1 = 0x911
    REFERENCE_H2 = 0x912
    REFERENCE_H3 = 0x913
    REFERENCE_H4 = 0x914
    REFERENCE_H5 = 0x915
    REFERENCE_H6 = 0x916
    REFERENCE_S0 = 0x918
    REFERENCE_S1 = 0x919
    REFERENCE_S2 = 0x91A
    REFERENCE_S3 = 0x91B
    REFERENCE_S4 = 0x91C
    REFERENCE_S5 = 0x91D
    REFERENCE_S6 = 0x91E
    NV_RATE = 0x920
    LOCKOUT = 0x921
    RETRY = 0x922
    NV_UNAVAILABLE = 0x923
    NOT_USED = 0x97F  # never given
    RC_VER1 = 0x100  # first code of format 0
    RC_MAX_FM0 = 0x17F  # last code of format 0
    RC_FMT1 = 0x080  # the bit of format 1
    RC_WARN = 0x900  # first warning
    H = 0x000  # added for a handle
    P = 0x040  # added for a parameter
    S = 0x800  # added for a session
    N_MASK = 0xF00  # bits of the number
    N1 = 0x100
    N2 = 0x200
    N3 = 0x300
    N4 = 0x400
    N5 = 0x500
    N6 = 0x600
    N7 = 0x700
    N8 = 0x800
    N9 = 0x900
    NA = 0xA00
    NB = 0xB00
    NC = 0xC00
    ND = 0xD00
    NE = 0xE00
    NF = 0xF00


@constant("b", rc=0x084)
class TPM_CLOCK_ADJUST(IntEnum):
    """How TPM2_ClockRateAdjust changes the rate of the clock (Part 2, 6.7, table 17)."""

    COARSE_SLOWER = -3  # slower by a coarse step
    MEDIUM_SLOWER = -2  # slower by a medium step
    FINE_SLOWER = -1  # slower by a fine step
    NO_CHANGE = 0  # as it is
    FINE_FASTER = 1  # faster by a fine step
    MEDIUM_FASTER = 2  # faster by a medium step
    COARSE_FASTER = 3  # faster by a coarse step


@constant("H", rc=0x084)
class TPM_EO(IntEnum):
    """How a policy compares operand A in the TPM with operand B of the command (Part 2, 6.8, table 18)."""

    EQ = 0x00  # A == B
    NEQ = 0x01  # A != B
    SIGNED_GT = 0x02  # A > B, both signed
    UNSIGNED_GT = 0x03  # A > B, both unsigned
    SIGNED_LT = 0x04  # A < B, both signed
    UNSIGNED_LT = 0x05  # A < B, both unsigned
    SIGNED_GE = 0x06  # A >= B, both signed
    UNSIGNED_GE = 0x07  # A >= B, both unsigned
    SIGNED_LE = 0x08  # A <= B, both signed
    UNSIGNED_LE = 0x09  # A <= B, both unsigned
    BITSET = 0x0A  # every bit of B is set in A
    BITCLEAR = 0x0B  # every bit of B is clear in A


@constant("H")
class TPM_ST(IntEnum):
    """Structure tags: what kind of message, ticket or attestation follows (Part 2, 6.9, table 19)."""

    RSP_COMMAND = 0x00C4  # response of a TPM 1.2
    NULL = 0x8000  # no structure
    NO_SESSIONS = 0x8001  # command or response without sessions
    SESSIONS = 0x8002  # command or response with sessions
    ATTEST_NV = 0x8014  # contents of an NV index
    ATTEST_COMMAND_AUDIT = 0x8015  # digest of audited commands
    ATTEST_SESSION_AUDIT = 0x8016  # digest of an audit session
    ATTEST_CERTIFY = 0x8017  # name of a loaded object
    ATTEST_QUOTE = 0x8018  # PCR values
    ATTEST_TIME = 0x8019  # time and clock
    ATTEST_CREATION = 0x801A  # how an object was created
    ATTEST_NV_DIGEST = 0x801C  # digest of an NV index
    CREATION = 0x8021  # ticket of TPM2_Create
    VERIFIED = 0x8022  # ticket of TPM2_VerifySignature
    AUTH_SECRET = 0x8023  # ticket of TPM2_PolicySecret
    HASHCHECK = 0x8024  # ticket of TPM2_Hash and sequences
    AUTH_SIGNED = 0x8025  # ticket of TPM2_PolicySigned
    FU_MANIFEST = 0x8029  # manifest of a firmware upgrade


@constant("H", rc=0x084)
class TPM_SU(IntEnum):
    """What TPM2_Startup and TPM2_Shutdown do with the state (Part 2, 6.10, table 20)."""

    CLEAR = 0x00  # start: TPM Reset or Restart; shutdown: nothing is kept
    STATE = 0x01  # start: with the state of before; shutdown: keep it


@constant("B", rc=0x084)
class TPM_SE(IntEnum):
    """Kinds of session (Part 2, 6.11, table 21)."""

    HMAC = 0x00  # authorizes by HMAC, audits or encrypts
    POLICY = 0x01  # authorizes by a policy
    TRIAL = 0x03  # computes a policy digest and authorizes nothing


@constant("I", rc=0x084)
class TPM_CAP(IntEnum):
    """What TPM2_GetCapability can be asked for (Part 2, 6.12, table 22)."""

    ALGS = 0x00  # TPML_ALG_PROPERTY from an algorithm on
    HANDLES = 0x01  # TPML_HANDLE from a handle on
    COMMANDS = 0x02  # TPML_CCA from a command code on
    PP_COMMANDS = 0x03  # TPML_CC: those that need physical presence
    AUDIT_COMMANDS = 0x04  # TPML_CC: those that are audited
    PCRS = 0x05  # TPML_PCR_SELECTION: the banks
    TPM_PROPERTIES = 0x06  # TPML_TAGGED_TPM_PROPERTY from a property on
    PCR_PROPERTIES = 0x07  # TPML_TAGGED_PCR_PROPERTY from a property on
    ECC_CURVES = 0x08  # TPML_ECC_CURVE from a curve on
    AUTH_POLICIES = 0x09  # TPML_TAGGED_POLICY of permanent handles
    ACT = 0x0A  # TPML_ACT_DATA of the authenticated countdown timers
    PUB_KEYS = 0x0B  # TPML_PUB_KEY: public keys of the TPM
    SPDM_SESSION_INFO = 0x0C  # TPML_SPDM_SESSION_INFO of the secure channel
    VENDOR_PROPERTY = 0x100  # what a vendor defines
    FIRST = 0x00  # the least
    LAST = 0x0A  # the greatest of revision 1.59


@constant("I")
class TPM_PT(IntEnum):
    """Properties of a TPM: those up to 0x1FF are fixed, those from 0x200 vary (Part 2, 6.13, table 23)."""

    NONE = 0x000  # no property
    FAMILY_INDICATOR = 0x100  # four characters, "2.0" and a zero byte
    LEVEL = 0x101  # level of the specification
    REVISION = 0x102  # its revision times 100
    DAY_OF_YEAR = 0x103  # when it was published
    YEAR = 0x104  # when it was published
    MANUFACTURER = 0x105  # four characters that name the manufacturer
    VENDOR_STRING_1 = 0x106  # first four characters of the vendor's text
    VENDOR_STRING_2 = 0x107  # the next four
    VENDOR_STRING_3 = 0x108  # the next four
    VENDOR_STRING_4 = 0x109  # the last four
    VENDOR_TPM_TYPE = 0x10A  # a number of the vendor's
    FIRMWARE_VERSION_1 = 0x10B  # upper half of the firmware's version
    FIRMWARE_VERSION_2 = 0x10C  # lower half of the firmware's version
    INPUT_BUFFER = 0x10D  # most bytes in a TPM2B_MAX_BUFFER
    HR_TRANSIENT_MIN = 0x10E  # transient objects that fit at least
    HR_PERSISTENT_MIN = 0x10F  # persistent objects that fit at least
    HR_LOADED_MIN = 0x110  # sessions loaded that fit at least
    ACTIVE_SESSIONS_MAX = 0x111  # sessions active at a time
    PCR_COUNT = 0x112  # PCRs of a bank
    PCR_SELECT_MIN = 0x113  # fewest bytes of a PCR selection
    CONTEXT_GAP_MAX = 0x114  # how far saved sessions may be apart
    NV_COUNTERS_MAX = 0x116  # counter indices; 0 for no limit
    NV_INDEX_MAX = 0x117  # most bytes of an NV index
    MEMORY = 0x118  # how memory is shared (TPMA_MEMORY)
    CLOCK_UPDATE = 0x119  # milliseconds between updates of the clock in NV
    CONTEXT_HASH = 0x11A  # hash of saved contexts
    CONTEXT_SYM = 0x11B  # block cipher of saved contexts
    CONTEXT_SYM_SIZE = 0x11C  # bits of its key
    ORDERLY_COUNT = 0x11D  # how far an orderly counter may run ahead
    MAX_COMMAND_SIZE = 0x11E  # most bytes of a command
    MAX_RESPONSE_SIZE = 0x11F  # most bytes of a response
    MAX_DIGEST = 0x120  # bytes of the largest digest
    MAX_OBJECT_CONTEXT = 0x121  # most bytes of a saved object
    MAX_SESSION_CONTEXT = 0x122  # most bytes of a saved session
    PS_FAMILY_INDICATOR = 0x123  # platform specification: which (TPM_PS)
    PS_LEVEL = 0x124  # platform specification: level
    PS_REVISION = 0x125  # platform specification: revision times 100
    PS_DAY_OF_YEAR = 0x126  # platform specification: when published
    PS_YEAR = 0x127  # platform specification: when published
    SPLIT_MAX = 0x128  # split signing operations at a time
    TOTAL_COMMANDS = 0x129  # commands in all
    LIBRARY_COMMANDS = 0x12A  # commands of the library specification
    VENDOR_COMMANDS = 0x12B  # commands of the vendor
    NV_BUFFER_MAX = 0x12C  # most bytes of one NV read or write
    MODES = 0x12D  # modes that the TPM was evaluated in (TPMA_MODES)
    MAX_CAP_BUFFER = 0x12E  # most bytes of a capability
    FIRMWARE_SVN = 0x12F  # security version of the firmware
    FIRMWARE_MAX_SVN = 0x130  # the greatest it can be
    PERMANENT = 0x200  # TPMA_PERMANENT
    STARTUP_CLEAR = 0x201  # TPMA_STARTUP_CLEAR
    HR_NV_INDEX = 0x202  # NV indices defined
    HR_LOADED = 0x203  # sessions loaded
    HR_LOADED_AVAIL = 0x204  # sessions that can still be loaded
    HR_ACTIVE = 0x205  # sessions active
    HR_ACTIVE_AVAIL = 0x206  # sessions that can still be started
    HR_TRANSIENT_AVAIL = 0x207  # transient objects that still fit
    HR_PERSISTENT = 0x208  # persistent objects
    HR_PERSISTENT_AVAIL = 0x209  # persistent objects that still fit
    NV_COUNTERS = 0x20A  # counter indices defined
    NV_COUNTERS_AVAIL = 0x20B  # counter indices that still fit
    ALGORITHM_SET = 0x20C  # what TPM2_SetAlgorithmSet chose
    LOADED_CURVES = 0x20D  # curves
    LOCKOUT_COUNTER = 0x20E  # wrong authorizations counted
    MAX_AUTH_FAIL = 0x20F  # how many lead to lockout
    LOCKOUT_INTERVAL = 0x210  # seconds until one is forgotten
    LOCKOUT_RECOVERY = 0x211  # seconds until lockoutAuth may be tried again
    NV_WRITE_RECOVERY = 0x212  # milliseconds until NV can be written again
    AUDIT_COUNTER_0 = 0x213  # upper half of the audit counter
    AUDIT_COUNTER_1 = 0x214  # lower half of the audit counter
    PT_GROUP = 0x100  # how many properties a group has
    PT_FIXED = 0x100  # first of the fixed properties
    PT_VAR = 0x200  # first of the varying properties


@constant("I")
class TPM_PT_PCR(IntEnum):
    """Properties of PCRs: each has a bit map of the PCRs that have it (Part 2, 6.14, table 24)."""

    SAVE = 0x000  # kept over Shutdown(STATE)
    EXTEND_L0 = 0x001  # extended at locality 0
    RESET_L0 = 0x002  # reset at locality 0
    EXTEND_L1 = 0x003  # extended at locality 1
    RESET_L1 = 0x004  # reset at locality 1
    EXTEND_L2 = 0x005  # extended at locality 2
    RESET_L2 = 0x006  # reset at locality 2
    EXTEND_L3 = 0x007  # extended at locality 3
    RESET_L3 = 0x008  # reset at locality 3
    EXTEND_L4 = 0x009  # extended at locality 4
    RESET_L4 = 0x00A  # reset at locality 4
    NO_INCREMENT = 0x011  # do not count in pcrUpdateCounter
    DRTM_RESET = 0x012  # reset by a dynamic launch
    POLICY = 0x013  # can have a policy
    AUTH = 0x014  # can have an authValue
    FIRST = 0x000  # the least
    LAST = 0x014  # the greatest of revision 1.59


@constant("I")
class TPM_PS(IntEnum):
    """Platform-specific specifications (Part 2, 6.15, table 25)."""

    MAIN = 0x00  # not for one platform
    PC = 0x01  # PC client
    PDA = 0x02  # mobile assistants
    CELL_PHONE = 0x03  # mobile telephones
    SERVER = 0x04  # servers
    PERIPHERAL = 0x05  # peripherals
    TSS = 0x06  # software stack (deprecated)
    STORAGE = 0x07  # storage
    AUTHENTICATION = 0x08  # authentication
    EMBEDDED = 0x09  # embedded systems
    HARDCOPY = 0x0A  # printers and copiers
    INFRASTRUCTURE = 0x0B  # infrastructure (deprecated)
    VIRTUALIZATION = 0x0C  # virtualization
    TNC = 0x0D  # trusted network connect (deprecated)
    MULTI_TENANT = 0x0E  # multi-tenant (deprecated)
    TC = 0x0F  # technical committee (deprecated)


@constant("B", rc=0x084)
class TPM_HT(IntEnum):
    """Handle types: the most significant byte of a handle (Part 2, 7.2, table 27)."""

    PCR = 0x00  # consecutive numbers from 0
    NV_INDEX = 0x01  # an NV index
    HMAC_SESSION = 0x02  # an HMAC session
    LOADED_SESSION = 0x02  # in lists: a loaded session
    POLICY_SESSION = 0x03  # a policy session
    SAVED_SESSION = 0x03  # in lists: a saved session
    EXTERNAL_NV = 0x11  # an NV index outside of the TPM
    PERMANENT_NV = 0x12  # an NV index that the manufacturer defined
    PERMANENT = 0x40  # hierarchies and the like
    TRANSIENT = 0x80  # a loaded object
    PERSISTENT = 0x81  # an object kept in NV
    AC = 0x90  # an attached component


@constant("I")
class TPM_RH(IntEnum):
    """Handles that every TPM has (Part 2, 7.4, table 28)."""

    SRK = 0x40000000  # of TPM 1.2
    OWNER = 0x40000001  # the storage hierarchy
    REVOKE = 0x40000002  # of TPM 1.2
    TRANSPORT = 0x40000003  # of TPM 1.2
    OPERATOR = 0x40000004  # of TPM 1.2
    ADMIN = 0x40000005  # of TPM 1.2
    EK = 0x40000006  # of TPM 1.2
    NULL = 0x40000007  # the null hierarchy, or no object
    UNASSIGNED = 0x40000008  # no handle
    PW = 0x40000009  # a password instead of a session
    LOCKOUT = 0x4000000A  # the authority over dictionary-attack lockout
    ENDORSEMENT = 0x4000000B  # the endorsement hierarchy
    PLATFORM = 0x4000000C  # the platform hierarchy
    PLATFORM_NV = 0x4000000D  # NV indices that the platform made
    AUTH_00 = 0x40000010  # vendor's authorization, the first
    AUTH_FF = 0x4000010F  # vendor's authorization, the last
    ACT_0 = 0x40000110  # authenticated countdown timer, the first
    ACT_F = 0x4000011F  # authenticated countdown timer, the last
    FW_OWNER = 0x40000140  # storage hierarchy bound to this firmware
    FW_ENDORSEMENT = 0x40000141  # endorsement hierarchy bound to this firmware
    FW_PLATFORM = 0x40000142  # platform hierarchy bound to this firmware
    FW_NULL = 0x40000143  # null hierarchy bound to this firmware
    SVN_OWNER_BASE = 0x40010000  # storage hierarchies by security version: add the version
    SVN_ENDORSEMENT_BASE = 0x40020000  # endorsement hierarchies by security version
    SVN_PLATFORM_BASE = 0x40030000  # platform hierarchies by security version
    SVN_NULL_BASE = 0x40040000  # null hierarchies by security version
    FIRST = 0x40000000  # the least
    RS_PW = 0x40000009  # the same, under the name of the table
    LAST = 0x4000011F  # the greatest of revision 1.59


@constant("I")
class TPM_HC(IntEnum):
    """Where the ranges of handles start and end (Part 2, 7.5, table 29)."""

    HR_HANDLE_MASK = 0x00FFFFFF
    HR_RANGE_MASK = 0xFF000000
    HR_SHIFT = 0x00000018
    HR_PCR = 0x00000000
    HR_HMAC_SESSION = 0x02000000
    HR_POLICY_SESSION = 0x03000000
    HR_TRANSIENT = 0x80000000
    HR_PERSISTENT = 0x81000000
    HR_NV_INDEX = 0x01000000
    HR_PERMANENT = 0x40000000
    PCR_FIRST = 0x00000000
    PCR_LAST = 0x00000017
    HMAC_SESSION_FIRST = 0x02000000
    HMAC_SESSION_LAST = 0x0200003F
    LOADED_SESSION_FIRST = 0x02000000
    LOADED_SESSION_LAST = 0x0200003F
    POLICY_SESSION_FIRST = 0x03000000
    POLICY_SESSION_LAST = 0x0300003F
    TRANSIENT_FIRST = 0x80000000
    ACTIVE_SESSION_FIRST = 0x03000000
    ACTIVE_SESSION_LAST = 0x0300003F
    TRANSIENT_LAST = 0x80000002
    PERSISTENT_FIRST = 0x81000000
    PERSISTENT_LAST = 0x81FFFFFF
    PLATFORM_PERSISTENT = 0x81800000
    NV_INDEX_FIRST = 0x01000000
    NV_INDEX_LAST = 0x01FFFFFF
    PERMANENT_FIRST = 0x40000000
    PERMANENT_LAST = 0x4000011F
    HR_NV_AC = 0x01D00000
    NV_AC_FIRST = 0x01D00000
    NV_AC_LAST = 0x01D0FFFF
    HR_AC = 0x90000000
    AC_FIRST = 0x90000000
    AC_LAST = 0x9000FFFF
    HR_EXTERNAL_NV = 0x11000000
    HR_PERMANENT_NV = 0x12000000
    SVN_OWNER_FIRST = 0x40010000
    SVN_OWNER_LAST = 0x4001FFFF
    SVN_ENDORSEMENT_FIRST = 0x40020000
    SVN_ENDORSEMENT_LAST = 0x4002FFFF
    SVN_PLATFORM_FIRST = 0x40030000
    SVN_PLATFORM_LAST = 0x4003FFFF
    SVN_NULL_FIRST = 0x40040000
    SVN_NULL_LAST = 0x4004FFFF
    EXTERNAL_NV_FIRST = 0x11000000
    EXTERNAL_NV_LAST = 0x11FFFFFF
    PERMANENT_NV_FIRST = 0x12000000
    PERMANENT_NV_LAST = 0x12FFFFFF


@constant("B")
class TPM_NT(IntEnum):
    """Types of NV index, as they are in TPMA_NV (Part 2, 13.2, table 213)."""

    ORDINARY = 0x00  # bytes, written and read
    COUNTER = 0x01  # 64 bits that only count up
    BITS = 0x02  # 64 bits that can only be set
    EXTEND = 0x04  # a digest that is extended like a PCR
    PIN_FAIL = 0x08  # counts wrong uses of its authValue
    PIN_PASS = 0x09  # counts right uses of its authValue


@constant("I")
class TPM_AT(IntEnum):
    """What TPM2_AC_GetCapability can be asked for, and what an attached component reports (Part 2, 16.2, table 225)."""

    ANY = 0x00000000  # anything
    ERROR = 0x00000001  # what went wrong (TPM_AE)
    PV1 = 0x00000002  # value of the vendor
    VEND = 0x80000000  # the bit that tags of vendors have


@constant("I")
class TPM_AE(IntEnum):
    """Errors of an attached component (Part 2, 16.3, table 226)."""

    NONE = 0x00  # no error


@constant("I")
class TPM_CONSTANTS32(IntEnum):
    """The 32-bit constants that revision 1.83 puts into one table (Part 2, 6.2 of revision 1.83)."""

    GENERATED_VALUE = 0xFF544347  # TPM_GENERATED.VALUE
    MAX_DERIVATION_BITS = 0x00002000  # most bits of one derivation


@constant("I")
class TPM_PUB_KEY(IntEnum):
    """Public keys that TPM2_GetCapability can be asked for (Part 2, 6.16 of revision 1.83)."""

    TPM_SPDM_00 = 0x00  # the key of the TPM's end of a secure channel
