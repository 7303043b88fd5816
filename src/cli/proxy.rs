//! Which proxy stands between here and a server, as Go's programs find it out. The client takes `HTTPS_PROXY` by itself, but
//! holds `NO_PROXY` against the proxy instead of against the server.

use std::net::IpAddr;

use http::Uri;

/// What the environment says first of these.
fn variable(names: [&str; 2]) -> Option<String> {
    names.into_iter().find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))
}

/// The proxy that the environment names for a server.
pub fn of_environment(server: &Uri) -> Option<Uri> {
    let is_exempt = is_exempt(server, &variable(["NO_PROXY", "no_proxy"]).unwrap_or_default());
    if is_exempt || server.scheme_str() != Some("https") { None } else { named().and_then(with_scheme) }
}

fn named() -> Option<Uri> {
    variable(["HTTPS_PROXY", "https_proxy"])?.parse().ok()
}

/// Puts right what the client has found: a kubeconfig's proxy stays, that of the environment is looked for again.
pub fn put_right(server: &Uri, found: Option<Uri>) -> Option<Uri> {
    match found {
        Some(proxy) if Some(&proxy) != named().as_ref() => with_scheme(proxy),
        _ => of_environment(server),
    }
}

/// Go takes `proxy:3128` for `http://proxy:3128`.
pub fn with_scheme(proxy: Uri) -> Option<Uri> {
    if proxy.scheme().is_some() { Some(proxy) } else { format!("http://{proxy}").parse().ok() }
}

/// Whether a server is reached without a proxy: it is on this machine, or one of the entries names it.
fn is_exempt(server: &Uri, entries: &str) -> bool {
    let host = server.host().unwrap_or_default().trim_matches(['[', ']']).to_lowercase();
    let address: Option<IpAddr> = host.parse().ok();
    if host == "localhost" || address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    entries.split(',').map(|entry| entry.trim().to_lowercase()).filter(|entry| !entry.is_empty()).any(|entry| {
        if let (Some((network, bits)), Some(address)) = (entry.split_once('/'), address) {
            return in_network(address, network, bits);
        }
        let (name, port) = match entry.rsplit_once(':') {
            Some((name, port)) if !name.contains(':') => (name, Some(port)),
            _ => (entry.trim_matches(['[', ']']), None),
        };
        let is_port = port.is_none_or(|port| server.port_u16().unwrap_or(443).to_string() == port);
        let name = name.strip_prefix('*').unwrap_or(name);
        let is_below = |suffix: &str| host.strip_suffix(suffix).is_some_and(|before| before.ends_with('.'));
        // A dot in front: only what is below.
        let is_name = match name.strip_prefix('.') {
            Some(suffix) => is_below(suffix),
            None => name.is_empty() || host == name || is_below(name),
        };
        is_port && is_name
    })
}

fn in_network(address: IpAddr, network: &str, bits: &str) -> bool {
    let (Ok(network), Ok(bits)) = (network.parse::<IpAddr>(), bits.parse::<u32>()) else { return false };
    let number = |address: IpAddr| match address {
        IpAddr::V4(address) => (u128::from(address.to_bits()), 32),
        IpAddr::V6(address) => (address.to_bits(), 128),
    };
    let ((one, length), (other, other_length)) = (number(address), number(network));
    let shift = u32::saturating_sub(length, bits);
    length == other_length && one.checked_shr(shift).unwrap_or(0) == other.checked_shr(shift).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exempt(server: &str, entries: &str) -> bool {
        is_exempt(&server.parse().unwrap(), entries)
    }

    #[test]
    fn servers_are_reached_without_a_proxy_as_go_does_it() {
        for (server, entries) in [
            ("https://127.0.0.1:6443", ""),
            ("https://localhost", "x"),
            ("https://[::1]:6443", ""),
            ("https://10.1.2.3:6443", "x, 10.0.0.0/8"),
            ("https://10.1.2.3:6443", "10.1.2.3"),
            ("https://10.1.2.3:6443", "10.1.2.3:6443"),
            ("https://10.1.2.3:6443", "0.0.0.0/0"),
            ("https://[fd00::7]:6443", "fd00::/8"),
            ("https://api.shop.example", "EXAMPLE"),
            ("https://api.shop.example", ".shop.example"),
            ("https://api.shop.example", "*.shop.example"),
            ("https://api.shop.example", "api.shop.example:443"),
            ("https://api.shop.example", "*"),
        ] {
            assert!(exempt(server, entries), "{server} {entries:?}");
        }
        for (server, entries) in [
            ("https://10.1.2.3:6443", ""),
            ("https://10.1.2.3:6443", "11.0.0.0/8,10.1.2.3:80,fd00::/8,x/y"),
            ("https://api.shop.example", "shop,op.example,.api.shop.example"),
            ("https://shop.example", ".shop.example"),
        ] {
            assert!(!exempt(server, entries), "{server} {entries:?}");
        }
    }

    #[test]
    fn a_proxy_without_a_scheme_is_one_for_http() {
        assert_eq!(with_scheme("proxy:3128".parse().unwrap()).unwrap().to_string(), "http://proxy:3128/");
        assert_eq!(with_scheme("socks5://proxy".parse().unwrap()).unwrap().to_string(), "socks5://proxy/");
    }
}
