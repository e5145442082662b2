//! Where requests come from, as far as counting them goes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// One source of requests: an IPv4 address, or an IPv6 network of 64 bits, since whoever has one
/// address there has them all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Source(IpAddr);

impl Source {
    /// The source that this address belongs to. An IPv4 address written as IPv6 is IPv4.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            v4 => Self(v4),
        }
    }
}

/// What stands for IPv4 in the upper half of [`Source::to_bits`]: as IPv6 it is multicast, which
/// nobody sends from.
const IPV4: u64 = 0xffff_ffff << 32;

impl Source {
    /// Reads what is shown of one.
    pub fn parse(text: &str) -> Option<Self> {
        text.strip_suffix("/64").unwrap_or(text).parse().ok().map(Self::of)
    }

    /// The source as a number, for where one must fit into a word.
    pub fn to_bits(self) -> u64 {
        match self.0 {
            IpAddr::V4(v4) => IPV4 | u64::from(v4.to_bits()),
            IpAddr::V6(v6) => (v6.to_bits() >> 64) as u64,
        }
    }

    /// The source of a number.
    pub fn from_bits(bits: u64) -> Self {
        match bits & IPV4 {
            IPV4 => Self(Ipv4Addr::from_bits(bits as u32).into()),
            _ => Self(Ipv6Addr::from_bits(u128::from(bits) << 64).into()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(v4) => v4.fmt(f),
            IpAddr::V6(v6) => write!(f, "{v6}/64"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_an_ipv4_address_or_an_ipv6_network() {
        let source = |text: &str| Source::of(text.parse().unwrap()).to_string();

        assert_eq!(source("203.0.113.7"), "203.0.113.7");
        assert_eq!(source("::ffff:203.0.113.7"), "203.0.113.7");
        assert_eq!(source("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
        assert_eq!(source("2001:db8:1:2::9"), "2001:db8:1:2::/64");
    }

    #[test]
    fn a_source_is_the_same_after_a_word_and_after_a_text() {
        for text in
            ["203.0.113.7", "0.0.0.0", "255.255.255.255", "2001:db8:1:2::9", "::1", "fe80::1"]
        {
            let source = Source::of(text.parse().unwrap());

            assert_eq!(Source::from_bits(source.to_bits()), source, "{text}");
            assert_eq!(Source::parse(&source.to_string()), Some(source), "{text}");
        }
    }
}
