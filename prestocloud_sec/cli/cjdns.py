# SPDX-License-Identifier: Apache-2.0
"""``prestocloud-sec cjdns``: keys, addresses, route labels and packets."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from typing import TYPE_CHECKING

import click
from rich.console import Console

from prestocloud_sec.cli.base import (
    EPILOG,
    ExitCode,
    answer,
    hex_bytes,
    json_option,
    new_console,
    show_rows,
    stdin_text,
)

if TYPE_CHECKING:
    from prestocloud_sec.cjdns.keysearch import Progress

__all__ = ["cjdns"]


@click.group(epilog=EPILOG)
def cjdns() -> None:
    """Keys, addresses, route labels and packets of cjdns."""


# --- Keys ------------------------------------------------------------------------------------------------


@cjdns.command()
@click.option(
    "--prefix", metavar="fcXX", help="Search for an address that begins so; each digit takes 16 times as long."
)
@click.option("--limit", type=click.IntRange(min=1), help="Give up after so many keys (with --prefix).")
@json_option
def keygen(prefix: str | None, limit: int | None, as_json: bool) -> None:
    """Make a key pair; print the private key, the public key and the address.

    The private key is a secret: whoever has it is that node.
    """
    from prestocloud_sec.cjdns.keys import PrivateKey, search_vanity

    if prefix is None:
        if limit is not None:
            raise click.UsageError("--limit goes with --prefix")
        key = PrivateKey.generate()
    else:
        status = Console(stderr=True).status("searching") if sys.stderr.isatty() and not as_json else nullcontext()
        with status as spinner:

            def progress(so_far: Progress) -> None:
                if spinner is not None:
                    spinner.update(
                        f"{so_far.tried:,} keys of about {so_far.expected:,} tried, {so_far.rate:,.0f} a second"
                    )

            key = search_vanity(prefix, progress=progress, limit=limit)
    if sys.stdout.isatty() and not as_json:
        print("The private key is a secret: whoever has it is this node.", file=sys.stderr)
    answer(as_json, {"private": key.raw.hex(), "public": key.public.text, "address": str(key.address)})
    key.wipe()


@cjdns.command()
@click.argument("key", required=False)
@click.option("--private", is_flag=True, help="Read a private key (64 hexadecimal digits) from standard input.")
@json_option
def address(key: str | None, private: bool, as_json: bool) -> None:
    """Print the address of KEY, a public key in its .k form or as 64 hexadecimal digits."""
    from prestocloud_sec.cjdns.keys import PrivateKey, PublicKey

    if private == (key is not None):
        raise click.UsageError("give either KEY or --private")
    public = PublicKey.parse(key) if key is not None else PrivateKey.parse(stdin_text().strip()).public
    answer(as_json, {"address": str(public.address), "public": public.text, "hex": public.hex})


# --- Labels ----------------------------------------------------------------------------------------------


@cjdns.command()
@click.argument("label")
@click.option(
    "--scheme",
    "names",
    multiple=True,
    type=click.Choice(["v3x5x8", "v4x8", "f4", "f8"], case_sensitive=False),
    help="Encoding scheme of the switches; given several times, of each switch in turn.  [default: v3x5x8]",
)
@json_option
def label(label: str, names: tuple[str, ...], as_json: bool) -> None:
    """Explain LABEL, a route label such as 0000.0000.0000.0153.

    Prints the interface of each switch on its way, and the label with its bits reversed: at the end of a path, where
    each switch has put the way back into the high bits, that is the label of the way back.
    """
    from prestocloud_sec.cjdns import switch

    route = switch.RouteLabel.parse(label)
    hops = route.hops([getattr(switch, name.upper()) for name in names or ("v3x5x8",)])
    if as_json:
        steps = [{"interface": h.interface, "director": h.director, "bits": h.width} for h in hops]
        print(json.dumps({"label": str(route), "hops": steps, "reversed": str(route.reversed())}))
        return
    show_rows(
        [
            ("label", route),
            *(
                (f"hop {n}", f"interface {h.interface}, director {h.director:0{h.width}b}")
                for n, h in enumerate(hops, 1)
            ),
            ("then", "the router of the last switch"),
            ("reversed", route.reversed()),
        ]
    )


@cjdns.command()
@click.argument("go")
@click.argument("via")
@json_option
def splice(go: str, via: str, as_json: bool) -> None:
    """Print the label of the route VIA followed by the route GO."""
    from prestocloud_sec.cjdns.switch import RouteLabel

    answer(as_json, {"label": str(RouteLabel.parse(go).splice(RouteLabel.parse(via)))})


# --- Packets ---------------------------------------------------------------------------------------------


@cjdns.command()
@click.argument("packet", metavar="HEX|-")
@click.option(
    "--as",
    "kind",
    type=click.Choice(["datagram", "ethernet", "switch", "content"]),
    default="datagram",
    show_default=True,
    help="What it is: a UDP payload, an Ethernet frame, what an outer session carries (a switch header and what "
    "follows it, control frames included), or what an inner session carries.",
)
@click.option("--handshake", is_flag=True, help="The content came out of a handshake packet (with --as content).")
@json_option
@click.pass_context
def decode(ctx: click.Context, packet: str, kind: str, handshake: bool, as_json: bool) -> None:
    """Take a packet apart, header by header; nothing is decrypted. It is given in hexadecimal, or - reads it."""
    from prestocloud_sec.cjdns.layers import decode_layers

    data = hex_bytes(stdin_text(), "standard input") if packet == "-" else hex_bytes(packet, "HEX")
    match kind:
        case "switch":
            layers = decode_layers(outer=data)
        case "content":
            layers = decode_layers(inner=data, inner_handshake=handshake)
        case _:
            layers = decode_layers(data, link="ethernet" if kind == "ethernet" else "udp")
    if as_json:
        print(json.dumps({"layers": layers.as_list()}))
    else:
        new_console().print(str(layers))
    if any(layer.problem for layer in layers):
        ctx.exit(ExitCode.FAILED)
