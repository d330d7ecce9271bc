//! Where no admin may have the workers' requests go: to what a machine tells of itself, which in
//! most clouds are credentials. Private networks are no such place: local models live there.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::check::host;
use super::provider::ProviderSpec;
use super::rejection::CatalogRejection;

/// Names and addresses of metadata services that are not link-local.
const NAME: &str = "metadata.google.internal";
const V4: Ipv4Addr = Ipv4Addr::new(100, 100, 100, 200);
const V6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254);
/// The prefix that stands before an IPv4 address where it is translated.
const NAT64: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// Looks at the host as it is written. What a name resolves to is not known here.
pub(super) fn check_reach(spec: &ProviderSpec) -> Result<(), CatalogRejection> {
    match spec.base_url.as_deref().and_then(|url| problem(host(url)?)) {
        None => Ok(()),
        Some(problem) => Err(CatalogRejection::InvalidProvider {
            provider: spec.name.clone(),
            field: "base_url",
            problem: format!("base_url {problem}"),
        }),
    }
}

fn problem(host: &str) -> Option<&'static str> {
    const FORBIDDEN: &str = "must not be a link-local address or a metadata service";
    if !host.is_ascii() || host.contains('%') {
        return Some("must have a host in plain ASCII, without % in it");
    }
    let host = host.strip_suffix('.').unwrap_or(host);
    let address: IpAddr = if let Some(rest) = host.strip_prefix('[') {
        let Some(Ok(address)) = rest.strip_suffix(']').map(str::parse::<Ipv6Addr>) else {
            return Some("must have an IPv6 address in its brackets");
        };
        address.into()
    } else if ends_in_number(host) {
        // Clients take many other ways to write one, such as a single number.
        let Ok(address) = host.parse::<Ipv4Addr>() else {
            return Some("must have an IPv4 address as four decimal numbers");
        };
        address.into()
    } else {
        return host.eq_ignore_ascii_case(NAME).then_some(FORBIDDEN);
    };
    let forbidden = match address {
        IpAddr::V4(address) => is_forbidden(address),
        IpAddr::V6(address) => {
            let link_local = address.segments()[0] & 0xffc0 == 0xfe80;
            link_local || address == V6 || embedded(address).is_some_and(is_forbidden)
        }
    };
    forbidden.then_some(FORBIDDEN)
}

fn is_forbidden(address: Ipv4Addr) -> bool {
    address.is_link_local() || address == V4
}

/// The IPv4 address that an IPv6 address stands for.
fn embedded(address: Ipv6Addr) -> Option<Ipv4Addr> {
    address.to_ipv4().or_else(|| {
        let [prefix @ .., high, low] = address.segments();
        (prefix == NAT64).then(|| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low)))
    })
}

/// Whether a client would read the host as an IPv4 address.
fn ends_in_number(host: &str) -> bool {
    let last = host.rsplit('.').next().unwrap_or_default();
    let hex = last.strip_prefix("0x").or_else(|| last.strip_prefix("0X"));
    match hex {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
    }
}
