//! Which requests are answered, and what every answer tells the browser.
//!
//! A page on the internet may point its own name at 127.0.0.1 and have a visitor's browser read what answers there (DNS
//! rebinding). The browser then sends that name as `Host`, so only names that can't be anybody else's are answered.

use std::net::IpAddr;

use axum::extract::{Request, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

const HEADERS: [(HeaderName, &str); 8] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=()"),
];

/// Refuses what does not come from the dashboard's own address, and adds the headers above to every answer.
pub async fn check(State(listening): State<IpAddr>, request: Request, next: Next) -> Response {
    let mut response = match refusal(listening, request.method(), request.headers()) {
        Some((status, reason)) => (status, reason).into_response(),
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

fn refusal(listening: IpAddr, method: &Method, headers: &HeaderMap) -> Option<(StatusCode, &'static str)> {
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = hosts.next().and_then(|host| host.to_str().ok());
    if hosts.next().is_some() || !host.is_some_and(|host| is_ours(listening, host)) {
        return Some((
            StatusCode::MISDIRECTED_REQUEST,
            "This dashboard answers under localhost or the address it listens on, not under other names.\n",
        ));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    // Nothing here changes anything yet; whoever asks for it must at least be a page of ours.
    let origin = headers.get(header::ORIGIN).and_then(|origin| origin.to_str().ok());
    let same = origin.and_then(|origin| origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://")));
    if same.is_none() || same != host {
        return Some((StatusCode::FORBIDDEN, "This request did not come from a page of this dashboard.\n"));
    }
    None
}

/// Whether a `Host` value (`name[:port]`) is a loopback name or the address listened on. The port is left open, since a
/// tunnel may bring any.
fn is_ours(listening: IpAddr, host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) if port.is_empty() || is_port(port) => address,
            _ => return false,
        },
        None => match host.split_once(':') {
            Some((name, port)) if is_port(&format!(":{port}")) => name,
            Some(_) => return false,
            None => host,
        },
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    match name.parse::<IpAddr>() {
        // An address can't be rebound: whoever listens on all of them is asked under one of them.
        Ok(address) => address.is_loopback() || address == listening || listening.is_unspecified(),
        Err(_) => false,
    }
}

fn is_port(text: &str) -> bool {
    text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok() && port.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn loopback_names_and_the_listening_address_are_ours() {
        for host in ["localhost", "LOCALHOST:8432", "127.0.0.1:8432", "127.1.2.3", "[::1]:8432", "[::1]"] {
            assert!(is_ours(LOOPBACK, host), "{host}");
        }
        let lan = IpAddr::from([192, 0, 2, 7]);
        assert!(is_ours(lan, "192.0.2.7:8432"));
        assert!(!is_ours(lan, "192.0.2.8:8432"));
        assert!(is_ours(IpAddr::from([0, 0, 0, 0]), "192.0.2.8:8432"));
    }

    #[test]
    fn names_that_could_be_rebound_are_not_ours() {
        let hosts = [
            "evil.example",
            "localhost.evil.example",
            "127.0.0.1.evil.example:8432",
            "",
            ":8432",
            "localhost:",
            "localhost:+80",
            "localhost:99999",
            "[::1",
            "[::1]x",
            "192.0.2.8",
            "localhost:80:80",
            "user@localhost",
        ];
        for host in hosts {
            assert!(!is_ours(LOOPBACK, host), "{host}");
        }
    }

    fn headers(pairs: &[(HeaderName, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_is_not_a_get_needs_our_own_origin() {
        let status =
            |method, pairs: &[(HeaderName, &'static str)]| refusal(LOOPBACK, &method, &headers(pairs)).map(|(status, _)| status);
        let host = (header::HOST, "127.0.0.1:8432");
        assert_eq!(status(Method::GET, std::slice::from_ref(&host)), None);
        assert_eq!(status(Method::GET, &[]), Some(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(status(Method::GET, &[host.clone(), host.clone()]), Some(StatusCode::MISDIRECTED_REQUEST));
        assert_eq!(status(Method::POST, std::slice::from_ref(&host)), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(Method::POST, &[host.clone(), (header::ORIGIN, "null")]), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(Method::POST, &[host.clone(), (header::ORIGIN, "http://127.0.0.1:9999")]), Some(StatusCode::FORBIDDEN));
        assert_eq!(status(Method::POST, &[host, (header::ORIGIN, "http://127.0.0.1:8432")]), None);
    }
}
