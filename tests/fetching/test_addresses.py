"""Which addresses may be dialled: a hand list, Python's own properties, and every way to hide one in another."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from catalog.fetching.addresses import parse_address, why_closed

OPEN = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "100.63.255.255",
    "100.128.0.0",
    "172.15.255.255",
    "172.32.0.0",
    "192.167.255.255",
    "223.255.255.255",
    "2606:4700:4700::1111",
    "2a00:1450:4001:80b::200e",
    "64:ff9b::8.8.8.8",
    "2002:808:808::1",
]
CLOSED = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.9",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::127.0.0.1",
    "64:ff9b::10.1.2.3",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2001:20::1",
    "2002:7f00:1::",
    "2002:a00:1::1",
    "2002:a9fe:a9fe::1",
    "3fff::1",
    "5f00::1",
    "4000::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "2606:4700:4700::1111%eth0",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]

v4 = st.integers(0, 2**32 - 1).map(IPv4Address)
v6 = st.integers(0, 2**128 - 1).map(IPv6Address)
# A random IPv6 address is hardly ever in a special range, so most are drawn from around their borders.
_RANGES = [
    "::/96",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "2000::/3",
    "2001::/16",
    "2002::/16",
    "fc00::/6",
    "fe80::/9",
    "ff00::/8",
]
v6_special = st.sampled_from(_RANGES).flatmap(
    lambda net: st.integers(0, ip_network(net).num_addresses - 1).map(lambda n: ip_network(net)[n])
)


@pytest.mark.parametrize("text", OPEN)
def test_public_addresses_are_open(text: str) -> None:
    assert why_closed(ip_address(text)) == ""


@pytest.mark.parametrize("text", CLOSED)
def test_every_other_address_is_closed_with_a_reason(text: str) -> None:
    assert why_closed(ip_address(text)) != ""


@given(st.one_of(v4, v6, v6_special))
def test_an_open_address_is_open_to_python_too(address: IPv4Address | IPv6Address) -> None:
    if why_closed(address) == "":
        assert address.is_global
        assert not address.is_private
        assert not address.is_loopback
        assert not address.is_link_local
        assert not address.is_multicast
        assert not address.is_unspecified
        assert isinstance(address, IPv6Address) or not address.is_reserved
        assert not (isinstance(address, IPv6Address) and address.is_site_local)


@given(v4)
def test_an_ipv4_address_hidden_in_ipv6_is_no_more_open_than_itself(address: IPv4Address) -> None:
    number = int(address)
    closed = why_closed(address) != ""
    assert (why_closed(IPv6Address((0x64FF9B << 96) | number)) != "") == closed
    assert (why_closed(IPv6Address((0x2002 << 112) | (number << 80) | 1)) != "") == closed
    assert why_closed(IPv6Address((0xFFFF << 32) | number)) != ""
    assert why_closed(IPv6Address(number)) != ""


@given(v4)
def test_most_of_ipv4_is_open(address: IPv4Address) -> None:
    first = int(address) >> 24
    if first not in (0, 10, 100, 127, 169, 172, 192, 198, 203) and first < 224:
        assert why_closed(address) == ""


@pytest.mark.parametrize("text", ["shop.example", "127.1", "0x7f000001", "2130706433", "0177.0.0.1", "", "[::1]"])
def test_what_is_no_plain_address_is_none(text: str) -> None:
    assert parse_address(text) is None
