//! Where a token may be used from.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::Arc,
};

use ipnet::IpNet;

/// The networks that a token's requests may come from.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Networks {
    /// Everywhere.
    #[default]
    All,
    /// These only.
    Only(Arc<[IpNet]>),
}

impl Networks {
    /// This machine.
    pub fn loopback() -> Self {
        let [four, six] = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
        Self::Only(
            [(four, 8), (six, 128)].map(|(ip, bits)| IpNet::new_assert(ip, bits).trunc()).into(),
        )
    }

    /// Whether an address is in one of them. An IPv4 address written as IPv6 is IPv4.
    pub fn hold(&self, address: IpAddr) -> bool {
        match self {
            Self::All => true,
            Self::Only(networks) => {
                let address = address.to_canonical();
                networks.iter().any(|network| network.contains(&address))
            }
        }
    }

    /// The networks; `None` stands for everywhere.
    pub fn list(&self) -> Option<&[IpNet]> {
        match self {
            Self::All => None,
            Self::Only(networks) => Some(networks),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_outside_is_not_held_however_it_is_written() {
        let networks = ["10.0.0.0/8".parse().unwrap(), "2001:db8::/32".parse().unwrap()];
        let some = Networks::Only(networks.into());
        let holds = |text: &str| some.hold(text.parse().unwrap());

        assert!(holds("10.1.2.3") && holds("::ffff:10.1.2.3") && holds("2001:db8::7"));
        assert!(!holds("11.0.0.1") && !holds("::ffff:11.0.0.1") && !holds("2001:db9::7"));
        assert!(Networks::loopback().hold("127.1.2.3".parse().unwrap()));
        assert!(Networks::loopback().hold("::1".parse().unwrap()));
        assert!(!Networks::loopback().hold("10.1.2.3".parse().unwrap()));
        assert!(Networks::All.hold("11.0.0.1".parse().unwrap()));
    }
}
