"""Addresses, in every spelling, that must not be called, and those that may be called."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.destinations import addresses
from schemas.destinations.guard import BlockedError, Guard

STRICT = Guard([], allow_http=False)

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "93.184.216.34", "11.0.0.1", "9.255.255.255", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.1", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0",
    "192.167.255.255", "192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.112.255", "203.0.114.0",
    "223.255.255.255", "168.63.129.15", "::ffff:8.8.8.8", "2606:4700:4700::1111", "2001:4860:4860::8888", "2001:200::1",
    "2a00:1450:4001:80b::200e", "2003::1", "3ffe::1", "64:ff9b::8.8.8.8", "64:ff9b::a29f:8ae8",
]  # fmt: skip
BLOCKED = [
    "0.0.0.0", "0.1.2.3", "10.0.0.0", "10.255.255.255", "100.64.0.0", "100.100.100.200", "100.127.255.255",
    "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.0.1", "169.254.169.254", "169.254.170.2", "172.16.0.1",
    "172.31.255.255", "192.0.0.1", "192.0.0.192", "192.0.2.1", "192.88.99.1", "192.168.0.1", "192.168.255.255",
    "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.255.255.255", "240.0.0.1",
    "255.255.255.255", "::", "::1", "::127.0.0.1", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:7f00:1", "::ffff:10.0.0.1",
    "::ffff:169.254.169.254", "::ffff:0:127.0.0.1", "0:0:0:0:0:ffff:7f00:0001", "64:ff9b::7f00:1", "64:ff9b::10.0.0.1",
    "64:ff9b:1::1", "100::1", "2001::1", "2001:0:4136:e378::1", "2001:2::1", "2001:10::1", "2001:20::1", "2001:db8::1",
    "2002:7f00:1::", "2002:808:808::1", "3fff::1", "4000::1", "5f00::1", "fc00::1", "fd00:ec2::254", "fd20:ce::254",
    "fe80::1", "fe80::1%eth0", "fe80::1%1", "febf::1", "fec0::1", "feff::1", "ff02::1", "ff0e::1",
]  # fmt: skip


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_allowed(address: str) -> None:
    assert STRICT.allowed(address)


@pytest.mark.parametrize("address", [*BLOCKED, "", "localhost", "127.1", "0x7f000001", "not an address", "1.2.3.4.5"])
def test_other_addresses_are_blocked(address: str) -> None:
    assert not STRICT.allowed(address)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "127.1", "127.0.1", "2130706433", "017700000001", "0x7f000001", "0X7F000001", "0x7F.1",
        "0177.0.0.1", "0177.0x0.0.01", "127.0.0.1.", "127.0.0.1..", "0x7f.0.0.0x1", "0", "0.0.0.0", "0x0", "0x",
        "00000", "10.1", "0xa9fea9fe", "2852039166", "169.254.43518", "0251.0376.0251.0376", "3232235777",
        "192.168.257",
        "１２７.0.0.1", "127。0。0。1", "127．0．0．1", "①②⑦.⓪.⓪.①", "127.0.0.\N{SOFT HYPHEN}1", "𝟏𝟐𝟕.𝟎.𝟎.𝟏", "⒑0.0.1",
        "[::1]", "[::]", "[0:0:0:0:0:0:0:1]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[::127.0.0.1]", "[fe80::1]",
        "[fe80::1%25eth0]", "[fe80::1%eth0]", "[::1%25lo]", "[fd00:ec2::254]", "[64:ff9b::127.0.0.1]",
        "[2002:7f00:1::]", "[FD00:EC2::254]", "localhost", "LOCALHOST", "localhost.", "a.localhost", "ⓛocalhost",
        "local\N{SOFT HYPHEN}host",
    ],
)  # fmt: skip
def test_private_hosts_are_blocked_in_every_spelling(host: str) -> None:
    with pytest.raises(BlockedError):
        STRICT.check_url(f"https://{host}/hook")


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("http://example.com/", "https://"),
        ("ftp://example.com/", "https://"),
        ("file:///etc/passwd", "host"),
        ("gopher://example.com/_x", "https://"),
        ("javascript:alert(1)", "absolute"),
        ("", "absolute"),
        ("example.com/hook", "absolute"),
        ("//example.com/hook", "absolute"),
        ("https:example.com", "absolute"),
        ("https:/example.com", "absolute"),
        ("https:///hook", "host"),
        ("https://", "host"),
        ("https://:443/", "host"),
        ("https://?x=1", "host"),
        ("https://user@example.com/", "user name"),
        ("https://user:word@example.com/", "user name"),
        ("https://@example.com/", "user name"),
        ("https://example.com@127.0.0.1/", "user name"),
        ("https://example.com/#top", "fragment"),
        ("https://example.com#@127.0.0.1/", "fragment"),
        ("https://example.com/#", "fragment"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:99999999999999999999/", "port"),
        ("https://example.com:-1/", "port"),
        ("https://example.com:８０/", "port"),
        ("https://example.com:80:80/", "port"),
        ("https://::1/", "port"),
        ("https://example.com\\@127.0.0.1/", "backslash"),
        ("https://example.com\\.example.org/", "backslash"),
        (" https://example.com/", "space"),
        ("https://example.com/\n", "line break"),
        ("https://exam\tple.com/", "control"),
        ("https://example.com/a b", "space"),
        ("https://example.com/\x00", "control"),
        ("https://example.com/\u2028", "line break"),
        ("https://example.com/\ud800", "control"),
        ("https://example.com/" + "x" * 5000, "longer"),
        ("https://256.1.1.1/", "neither"),
        ("https://1.2.3.4.5/", "neither"),
        ("https://1.2.3.256/", "neither"),
        ("https://08.8.8.8/", "neither"),
        ("https://4294967296/", "neither"),
        ("https://example.0x1/", "neither"),
        ("https://%31%32%37.0.0.1/", "neither"),
        ("https://exa%6dple.com/", "neither"),
        ("https://a..example.com/", "neither"),
        ("https://.example.com/", "neither"),
        ("https://./", "neither"),
        ("https://example.com../", "neither"),
        ("https://-a.example.com/", "neither"),
        ("https://a,b.example.com/", "neither"),
        (f"https://{'a' * 64}.example.com/", "neither"),
        (f"https://{'a.' * 130}example.com/", "neither"),
        ("https://[::1/", "host or port"),
        ("https://[1.2.3.4]/", "IPv6"),
        ("https://[v1.fe80::a]/", "IPv6"),
        ("https://[]/", "IPv6"),
        ("https://[::1]x/", "host or port"),
        ("https://x[::1]/", "host or port"),
        ("https://[g::1]/", "IPv6"),
        ("https://[%31::1]/", "IPv6"),
    ],
)
def test_errors_of_blocked_urls_say_what_to_change(url: str, word: str) -> None:
    with pytest.raises(BlockedError, match=word):
        STRICT.check_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com", "https://example.com/", "HTTPS://EXAMPLE.COM/Hook?a=b", "https://example.com:8443/a/b?c",
        "https://example.com.", "https://bücher.example/", "https://xn--bcher-kva.example/", "https://a_b.example.com/",
        "https://8.8.8.8/", "https://134744072/", "https://010.010.010.010/", "https://[2606:4700:4700::1111]:8443/x",
        "https://[::ffff:8.8.8.8]/", "https://example.com:/", "https://example.com?x=http://127.0.0.1/@[::1]",
        "https://intranet/", "https://metadata.google.internal/", "https://localhost.example.com/", "https://1.2.3.com/",
    ],
)  # fmt: skip
def test_public_urls_pass_and_names_are_checked_when_connecting(url: str) -> None:
    STRICT.check_url(url)


def test_allowed_networks_are_allowed_in_every_spelling_and_nothing_else() -> None:
    guard = Guard(["127.0.0.0/8", "10.1.0.0/16", "fd12::/32", "::ffff:192.168.7.0/120"], allow_http=True)
    for url in ("http://127.1/", "http://localhost:8000/", "https://[::ffff:10.1.2.3]/", "http://[fd12::9]/"):
        guard.check_url(url)
    assert guard.allowed("::ffff:10.1.255.255")
    assert guard.allowed("192.168.7.9")
    for address in ("10.2.0.0", "::1", "192.168.8.1", "fd13::1", "169.254.169.254"):
        assert not guard.allowed(address)


def test_an_ipv6_network_does_not_allow_mapped_ipv4_addresses() -> None:
    guard = Guard(["::/0"], allow_http=False)
    assert guard.allowed("::1")
    assert not guard.allowed("::ffff:127.0.0.1")


@pytest.mark.parametrize("network", ["", "10.0.0.0/33", "10.0.0.1/8", "everything", "localhost"])
def test_an_invalid_network_is_named_in_the_error(network: str) -> None:
    with pytest.raises(ValueError, match=repr(network)):
        Guard([network], allow_http=False)


@given(number=st.integers(0, 2**32 - 1), data=st.data())
def test_every_spelling_of_an_address_is_the_same_address(number: int, data: st.DataObject) -> None:
    spell = st.sampled_from(["{}", "{:#x}", "0{:o}", "0x000{:X}"])
    heads = data.draw(st.integers(0, 3))
    parts = [number >> (24 - 8 * place) & 255 for place in range(heads)] + [number & (256 ** (4 - heads) - 1)]
    host = ".".join(data.draw(spell).format(part) for part in parts)
    canonical = ".".join(str(number >> shift & 255) for shift in (24, 16, 8, 0))
    assert addresses.literal(host) == canonical
    if STRICT.allowed(canonical):
        assert STRICT.target(f"https://{host}/").host == canonical
    else:
        with pytest.raises(BlockedError):
            STRICT.check_url(f"https://{host}/")


@given(st.text(st.characters()), st.sampled_from(["", "https://", "https://[", "https://example.com/", "https://a:"]))
def test_any_text_is_parsed_or_blocked(text: str, before: str) -> None:
    try:
        target = STRICT.target(before + text)
    except BlockedError:
        return
    line = f"{target.authority} {target.resource()}"
    assert line.isascii()
    assert len(line.split()) == 2


@given(st.text(st.characters(categories=["L", "N"]), min_size=8))
def test_no_error_repeats_the_url(secret: str) -> None:
    secret = f"zzq{secret}"  # or it may be a word of ours
    for url in (f"http://h/?token={secret}", f"https://u:{secret}@h/", f"https://[{secret}]/", f"https://h:{secret}/"):
        with pytest.raises(BlockedError) as blocked:
            STRICT.check_url(url)
        assert secret not in f"{blocked.value!r} {blocked.value.__cause__!r}"


@pytest.mark.parametrize(
    ("url", "extra", "called"),
    [
        ("https://h.example", (), "https://h.example/"),
        ("https://H.example:443/A%2Fb/%7e/%C3%A9?x=%20+%2B&y", (), "https://h.example/A%2Fb/%7e/%C3%A9?x=%20+%2B&y"),
        ("https://h.example/é|{}?q=ü", (), "https://h.example/%C3%A9%7C%7B%7D?q=%C3%BC"),
        ("https://h.example/100%?a=%zz", (), "https://h.example/100%25?a=%25zz"),
        ("https://h.example/a/../b//c", (), "https://h.example/a/../b//c"),
        ("https://h.example/p", (("key", "a b&c=d+é%20/"),), "https://h.example/p?key=a%20b%26c%3Dd%2B%C3%A9%2520%2F"),
        ("https://h.example/p?", (("k", "v"),), "https://h.example/p?k=v"),
        ("https://h.example/p?a=b&", (("k", "v"),), "https://h.example/p?a=b&k=v"),
        ("https://h.example?a=%26", (("k", "v"), ("l", "")), "https://h.example/?a=%26&k=v&l="),
        ("https://[2606:4700::1111]:8443/", (), "https://[2606:4700::1111]:8443/"),
        ("https://bücher.example./", (), "https://xn--bcher-kva.example/"),
    ],
)
def test_the_requested_path_is_the_registered_one_encoded_once(
    url: str, extra: tuple[tuple[str, str], ...], called: str
) -> None:
    target = STRICT.target(url)
    assert f"https://{target.authority}{target.resource(extra)}" == called
    assert repr(STRICT.target(url)) == "Target(…)"
