"""Which addresses a download may reach: public ones, and no form of writing that hides another.

Python's own properties do not suffice: in 3.11 `is_global` holds for multicast, for `::127.0.0.1`, for site-local
`fec0::/10` and for NAT64 around a loopback address. So an address has to pass them **and** the lists here.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Address = IPv4Address | IPv6Address

_CLOSED_V4 = tuple(
    (IPv4Network(net), why)
    for net, why in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "shared by a carrier (CGNAT)"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local, where clouds keep their metadata"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved for protocols"),
        ("192.0.2.0/24", "for documentation"),
        ("192.31.196.0/24", "reserved for protocols"),
        ("192.52.193.0/24", "reserved for protocols"),
        ("192.88.99.0/24", "a relay of 6to4"),
        ("192.168.0.0/16", "private"),
        ("192.175.48.0/24", "reserved for protocols"),
        ("198.18.0.0/15", "for benchmarks of networks"),
        ("198.51.100.0/24", "for documentation"),
        ("203.0.113.0/24", "for documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
"""Source: IANA's special-purpose address registry (RFC 6890 and its updates), multicast (RFC 5771)."""

_UNICAST_V6 = IPv6Network("2000::/3")
"""All that is handed out as global unicast (RFC 4291); the rest is loopback, mapped, local, multicast or unused."""
_MAPPED = IPv6Network("::ffff:0:0/96")
_NAT64 = IPv6Network("64:ff9b::/96")
_SIX_TO_FOUR = IPv6Network("2002::/16")
_CLOSED_V6 = tuple(
    (IPv6Network(net), why)
    for net, why in (
        ("2001::/23", "reserved for protocols, Teredo among them"),
        ("2001:db8::/32", "for documentation"),
        ("2620:4f:8000::/48", "reserved for protocols"),
        ("3fff::/20", "for documentation"),
    )
)


def why_closed(address: Address) -> str:
    """Why no download may go to this address; empty for a public one.

    An IPv4 address inside an IPv6 one (6to4, NAT64) is judged in its place; one that is merely mapped is refused,
    because no public name has a reason to answer so.
    """
    if isinstance(address, IPv4Address):
        why = next((why for net, why in _CLOSED_V4 if address in net), "")
        return why or ("" if address.is_global and not address.is_reserved else "not public")
    if address.scope_id is not None:
        return "bound to a network interface"
    if address in _MAPPED:
        return "an IPv4 address written as IPv6"
    if address in _NAT64:
        return _hidden("NAT64", IPv4Address(int(address) & 0xFFFFFFFF))
    if address in _SIX_TO_FOUR:
        return _hidden("6to4", IPv4Address(int(address) >> 80 & 0xFFFFFFFF))
    if address not in _UNICAST_V6:
        return "not global unicast: loopback, local, multicast or unassigned"
    why = next((why for net, why in _CLOSED_V6 if address in net), "")
    return why or ("" if address.is_global and not address.is_multicast else "not public")


def parse_address(text: str) -> Address | None:
    """The address a resolver's answer stands for; None for anything else, names included."""
    try:
        return ip_address(text)
    except ValueError:
        return None


def _hidden(form: str, inner: IPv4Address) -> str:
    why = why_closed(inner)
    return f"{form} around {inner}, which is {why}" if why else ""
