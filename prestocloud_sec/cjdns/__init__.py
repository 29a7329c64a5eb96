# SPDX-License-Identifier: Apache-2.0
"""cjdns as a library: keys and addresses, CryptoAuth, switch, routing, and a simulator of whole networks.

The names that most users need are here; each is imported from its module where it is first used, so that importing this
package stays cheap. The modules have more, and say where their rules come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestocloud_sec._lazy import lazy

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.beacon import EthernetFrame as EthernetFrame
    from prestocloud_sec.cjdns.beacon import UdpBeacon as UdpBeacon
    from prestocloud_sec.cjdns.control import ControlFrame as ControlFrame
    from prestocloud_sec.cjdns.cryptoauth import AuthField as AuthField
    from prestocloud_sec.cjdns.cryptoauth import AuthType as AuthType
    from prestocloud_sec.cjdns.cryptoauth import HandshakeHeader as HandshakeHeader
    from prestocloud_sec.cjdns.cryptoauth import ReplayWindow as ReplayWindow
    from prestocloud_sec.cjdns.cryptoauth import Session as Session
    from prestocloud_sec.cjdns.cryptoauth import SessionState as SessionState
    from prestocloud_sec.cjdns.cryptoauth import Statistics as Statistics
    from prestocloud_sec.cjdns.cryptoauth import User as User
    from prestocloud_sec.cjdns.cryptoauth import Users as Users
    from prestocloud_sec.cjdns.headers import ContentType as ContentType
    from prestocloud_sec.cjdns.headers import DataHeader as DataHeader
    from prestocloud_sec.cjdns.headers import RouteHeader as RouteHeader
    from prestocloud_sec.cjdns.headers import SwitchHeader as SwitchHeader
    from prestocloud_sec.cjdns.ipv6 import IPv6Header as IPv6Header
    from prestocloud_sec.cjdns.keys import Address as Address
    from prestocloud_sec.cjdns.keys import NodeName as NodeName
    from prestocloud_sec.cjdns.keys import PrivateKey as PrivateKey
    from prestocloud_sec.cjdns.keys import PublicKey as PublicKey
    from prestocloud_sec.cjdns.keys import search_vanity as search_vanity
    from prestocloud_sec.cjdns.keys import signing_key_to_curve as signing_key_to_curve
    from prestocloud_sec.cjdns.keys import verify_signature as verify_signature
    from prestocloud_sec.cjdns.layers import decode_layers as decode_layers
    from prestocloud_sec.cjdns.routing import NearestIndex as NearestIndex
    from prestocloud_sec.cjdns.routing import Node as Node
    from prestocloud_sec.cjdns.routing import NodeStore as NodeStore
    from prestocloud_sec.cjdns.routing import bucket as bucket
    from prestocloud_sec.cjdns.routing import closest as closest
    from prestocloud_sec.cjdns.routing import distance as distance
    from prestocloud_sec.cjdns.routing.messages import Query as Query
    from prestocloud_sec.cjdns.routing.messages import Reply as Reply
    from prestocloud_sec.cjdns.routing.messages import decode_message as decode_message
    from prestocloud_sec.cjdns.simulator import Simulator as Simulator
    from prestocloud_sec.cjdns.switch import F4 as F4
    from prestocloud_sec.cjdns.switch import F8 as F8
    from prestocloud_sec.cjdns.switch import SELF as SELF
    from prestocloud_sec.cjdns.switch import V3X5X8 as V3X5X8
    from prestocloud_sec.cjdns.switch import V4X8 as V4X8
    from prestocloud_sec.cjdns.switch import Drop as Drop
    from prestocloud_sec.cjdns.switch import EncodingForm as EncodingForm
    from prestocloud_sec.cjdns.switch import EncodingScheme as EncodingScheme
    from prestocloud_sec.cjdns.switch import ErrorReply as ErrorReply
    from prestocloud_sec.cjdns.switch import Forward as Forward
    from prestocloud_sec.cjdns.switch import RouteLabel as RouteLabel
    from prestocloud_sec.cjdns.switch import Switch as Switch
    from prestocloud_sec.cjdns.switch import label_for as label_for

_HOMES: dict[str, str] = {
    "Address": "keys",
    "NodeName": "keys",
    "PrivateKey": "keys",
    "PublicKey": "keys",
    "search_vanity": "keys",
    "signing_key_to_curve": "keys",
    "verify_signature": "keys",
    "AuthField": "cryptoauth",
    "AuthType": "cryptoauth",
    "HandshakeHeader": "cryptoauth",
    "ReplayWindow": "cryptoauth",
    "Session": "cryptoauth",
    "SessionState": "cryptoauth",
    "Statistics": "cryptoauth",
    "User": "cryptoauth",
    "Users": "cryptoauth",
    "ContentType": "headers",
    "DataHeader": "headers",
    "RouteHeader": "headers",
    "SwitchHeader": "headers",
    "ControlFrame": "control",
    "UdpBeacon": "beacon",
    "EthernetFrame": "beacon",
    "IPv6Header": "ipv6",
    "decode_layers": "layers",
    "F4": "switch",
    "F8": "switch",
    "SELF": "switch",
    "V3X5X8": "switch",
    "V4X8": "switch",
    "Drop": "switch",
    "EncodingForm": "switch",
    "EncodingScheme": "switch",
    "ErrorReply": "switch",
    "Forward": "switch",
    "RouteLabel": "switch",
    "Switch": "switch",
    "label_for": "switch",
    "NearestIndex": "routing",
    "Node": "routing",
    "NodeStore": "routing",
    "bucket": "routing",
    "closest": "routing",
    "distance": "routing",
    "Query": "routing.messages",
    "Reply": "routing.messages",
    "decode_message": "routing.messages",
    "Simulator": "simulator",
}

__all__ = list(_HOMES)

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(__name__, _HOMES)
