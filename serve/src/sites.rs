//! Which web sites may ask. Any page that is open in a browser can send requests to a server on the
//! same machine. So a server without keys refuses requests of other sites, unless they are listed:
//!
//! - **Origin**: a request to another site has the page's own site in `Origin` (or `cross-site` in
//!   `Sec-Fetch-Site`). It may only read, for a browser does not show the answer to the page. With
//!   a key it may do all: the key proves that somebody wants it.
//! - **Host**: a page can point its own name to 127.0.0.1 (DNS rebinding), and then it has the same
//!   origin as the server. So a server without keys on a loopback address answers only to names
//!   that strangers cannot point here: addresses, `localhost`, and listed names. Other names
//!   without a dot, such as those of containers and of `/etc/hosts`, are for programs only: a
//!   stranger in the same network can give such a name to a browser (by the search domain, or by
//!   LLMNR).

use std::net::IpAddr;

use axum::http::{HeaderMap, HeaderValue, Method, header};

use crate::error::{Kind, Problem, Result};

/// The sites and names that are allowed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sites {
    /// Origins that may ask: `https://page.example`, or `*` for any.
    pub origins: Vec<String>,
    /// Names of the server, apart from those that are always known.
    pub hosts: Vec<String>,
    /// Whether other names are refused.
    pub check_host: bool,
    /// Whether the server has no keys, so that it must tell sites apart.
    pub keyless: bool,
}

/// Where a request comes from, according to the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asker {
    /// From the server's own page, or from a program that is no browser.
    Here,
    /// From a site on the list.
    Listed,
    /// From another site.
    Elsewhere,
}

/// An origin as browsers write it.
///
/// # Errors
/// When the text is no origin.
pub fn origin(text: &str) -> std::result::Result<String, String> {
    let text = text.trim_end_matches('/').to_ascii_lowercase();
    let site = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    match site {
        _ if text == "*" || text == "null" => Ok(text),
        Some(site) if !site.is_empty() && !site.contains(['/', '?', '#', '@', ' ']) => Ok(text),
        _ => Err(format!(
            "--cors-origin is `{text}`; it must be an origin, as https://page.example, or *"
        )),
    }
}

/// A name of the server, perhaps with a port.
///
/// # Errors
/// When the text is no name.
pub fn name(text: &str) -> std::result::Result<String, String> {
    let fit = |c: char| c.is_ascii_alphanumeric() || "-._:[]".contains(c);
    match text == "*" || (!text.is_empty() && text.chars().all(fit)) {
        true => Ok(text.trim_end_matches('.').to_ascii_lowercase()),
        false => {
            Err(format!("--allowed-host is `{text}`; it must be a name, as models.example, or *"))
        }
    }
}

impl Sites {
    /// Checks that the request may be answered.
    ///
    /// # Errors
    /// When the request names another host, or when it changes or computes something for a site
    /// that may not ask.
    pub fn check(
        &self,
        method: &Method,
        authority: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<()> {
        let host = self.host(authority, headers)?;
        let asks_first = *method == Method::OPTIONS
            && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let harmless = match *method {
            // A key cannot come later: the browser does not send the request without this answer.
            Method::OPTIONS => !asks_first,
            Method::GET | Method::HEAD => true,
            _ => !self.keyless,
        };
        if harmless || self.from(host.as_deref(), headers) != Asker::Elsewhere {
            return Ok(());
        }
        let origin =
            headers.get(header::ORIGIN).and_then(|v| v.to_str().ok()).unwrap_or("another site");
        let origin: String = origin.chars().take(200).collect();
        Err(Problem::new(
            Kind::Forbidden,
            format!("{origin} may not ask this server; start it with --cors-origin for that site"),
        ))
    }

    /// Checks that a request may change models: it has a key (checked before), or comes from the
    /// server's own page or from no browser. Other sites may not, even if they are listed.
    ///
    /// # Errors
    /// When the request may not change models.
    pub fn check_management(&self, authority: Option<&str>, headers: &HeaderMap) -> Result<()> {
        let host = self.host(authority, headers)?;
        match !self.keyless || self.from(host.as_deref(), headers) == Asker::Here {
            true => Ok(()),
            false => Err(Problem::new(
                Kind::Forbidden,
                "other sites cannot change models here without a key; start the server with --api-key",
            )),
        }
    }

    /// The origin whose pages may read the answer.
    pub fn allowed(&self, headers: &HeaderMap) -> Option<HeaderValue> {
        let origin = headers.get(header::ORIGIN)?;
        match () {
            _ if self.origins.iter().any(|o| o == "*") => Some(HeaderValue::from_static("*")),
            _ if self.lists(origin) => Some(origin.clone()),
            _ => None,
        }
    }

    fn lists(&self, origin: &HeaderValue) -> bool {
        let origin = origin.to_str().unwrap_or_default();
        self.origins.iter().any(|o| o == "*" || o.eq_ignore_ascii_case(origin))
    }

    fn from(&self, host: Option<&str>, headers: &HeaderMap) -> Asker {
        let fetched = headers.get("sec-fetch-site").and_then(|v| v.to_str().ok());
        let same = |origin: &HeaderValue| {
            let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
            let (Some((scheme, site)), Some(host)) = (origin, host) else { return false };
            let port = if scheme == "https" { ":443" } else { ":80" };
            let bare = |name: &str| name.strip_suffix(port).unwrap_or(name).to_ascii_lowercase();
            bare(site) == bare(host)
        };
        match headers.get(header::ORIGIN) {
            // A proxy may have changed the host, but the browser knows the site.
            _ if fetched == Some("same-origin") => Asker::Here,
            Some(origin) if same(origin) => Asker::Here,
            Some(origin) if self.lists(origin) => Asker::Listed,
            Some(_) => Asker::Elsewhere,
            None if matches!(fetched, Some("cross-site" | "same-site")) => Asker::Elsewhere,
            None => Asker::Here,
        }
    }

    /// The name by which the request calls the server; a request of HTTP/1.0 may have none.
    fn host(&self, authority: Option<&str>, headers: &HeaderMap) -> Result<Option<String>> {
        let header = headers.get(header::HOST).map(|v| v.to_str().unwrap_or("?"));
        let Some(host) = authority.or(header).filter(|host| !host.is_empty()) else {
            return Ok(None);
        };
        let known = |host| self.knows(host) || (is_bare(host) && !is_browser(headers));
        if self.check_host && !known(host) {
            let name: String = host.chars().take(200).collect();
            let message = format!(
                "`{name}` is not a known name of this server; start it with --allowed-host for \
                 this name"
            );
            return Err(Problem::new(Kind::Forbidden, message));
        }
        Ok(Some(host.to_string()))
    }

    /// Whether a name is the server's own for every client.
    fn knows(&self, host: &str) -> bool {
        let name = bare(host);
        let address = name.trim_start_matches('[').trim_end_matches(']');
        let listed =
            |known: &String| name == *known || host.eq_ignore_ascii_case(known) || known == "*";
        address.parse::<IpAddr>().is_ok()
            || name == "localhost"
            || name.ends_with(".localhost")
            || self.hosts.iter().any(listed)
    }
}

/// The name in a header `Host`, in small letters, without the port and the final dot.
fn bare(host: &str) -> String {
    let name = without_port(host).to_ascii_lowercase();
    name.strip_suffix('.').map(str::to_string).unwrap_or(name)
}

/// Whether a name has no dot.
fn is_bare(host: &str) -> bool {
    let name = bare(host);
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
}

/// Whether a browser sent a request. Programs that use `fetch` (Node) send neither header.
fn is_browser(headers: &HeaderMap) -> bool {
    let agent =
        headers.get(header::USER_AGENT).is_some_and(|v| v.as_bytes().starts_with(b"Mozilla/"));
    agent || headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !name.ends_with(':') => {
            let inside = name.starts_with('[') == name.ends_with(']');
            if inside && (!name.contains(':') || name.starts_with('[')) { name } else { host }
        }
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites(origins: &[&str], hosts: &[&str]) -> Sites {
        let own = |all: &[&str]| all.iter().map(|s| s.to_string()).collect();
        Sites { origins: own(origins), hosts: own(hosts), check_host: true, keyless: true }
    }

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        all.iter().map(|(k, v)| (k.parse().unwrap(), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn names_that_a_strangers_dns_could_lead_here_are_refused() {
        let sites = sites(&[], &["models.example", "own.example:8080"]);
        for host in [
            "localhost",
            "localhost:8080",
            "LOCALHOST.",
            "a.localhost:80",
            "127.0.0.1:8080",
            "127.9.9.9",
            "[::1]:8080",
            "[::1]",
            "10.0.0.7:1",
            "models.example",
            "models.example.",
            "Models.Example:443",
            "own.example:8080",
        ] {
            assert!(sites.knows(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "evil.example.",
            "own.example:81",
            "127.0.0.1@evil.example",
            ".",
            "[evil.example]:80",
            "replica-1:8080",
        ] {
            assert!(!sites.knows(host), "{host}");
        }
    }

    #[test]
    fn names_without_a_dot_are_for_programs() {
        let sites = sites(&[], &["listed"]);
        let asks = |host: &'static str, more: &[(&'static str, &'static str)]| {
            let all = headers(&[&[("host", host)], more].concat());
            let read = sites.check(&Method::GET, None, &all).is_ok();
            assert_eq!(sites.check(&Method::POST, None, &all).is_ok(), read, "{all:?}");
            assert_eq!(sites.check_management(None, &all).is_ok(), read, "{all:?}");
            read
        };
        let firefox = (
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
        );
        let page = ("origin", "http://replica-1:8080");
        assert!(asks("replica-1:8080", &[]));
        assert!(asks("replica-1:8080", &[("user-agent", "node"), ("sec-fetch-mode", "cors")]));
        for of_a_browser in [firefox, page, ("sec-fetch-site", "same-origin")] {
            assert!(!asks("replica-1:8080", &[of_a_browser]), "{of_a_browser:?}");
            assert!(!asks("REPLICA-1.:8080", &[of_a_browser]), "{of_a_browser:?}");
        }
        assert!(asks("listed:8080", &[firefox, ("origin", "http://listed:8080")]));
        assert!(asks("localhost:8080", &[firefox, ("origin", "http://localhost:8080")]));
        // These are no names.
        for host in [".", "[replica]", "a@b", "a b"] {
            assert!(!asks(host, &[]), "{host}");
        }
    }

    #[test]
    fn other_sites_may_read_and_no_more() {
        let host = ("host", "localhost:8080");
        for (all, allowed, manages) in [
            (vec![], true, true),
            (vec![("origin", "http://localhost:8080")], true, true),
            (vec![("origin", "HTTP://LOCALHOST:8080")], true, true),
            (vec![("origin", "http://localhost:3000")], false, false),
            (vec![("origin", "http://localhost")], false, false),
            (vec![("origin", "null")], false, false),
            (vec![("origin", "https://evil.example")], false, false),
            (vec![("origin", "https://page.example")], true, false),
            (vec![("origin", "https://page.example.evil.example")], false, false),
            (vec![("sec-fetch-site", "cross-site")], false, false),
            (vec![("sec-fetch-site", "same-site")], false, false),
            (vec![("sec-fetch-site", "none")], true, true),
            // Behind a proxy that changes the host.
            (vec![("origin", "https://x.example"), ("sec-fetch-site", "same-origin")], true, true),
        ] {
            let sites = sites(&["https://page.example"], &[]);
            let all = headers(&[vec![host], all].concat());
            assert_eq!(sites.check(&Method::POST, None, &all).is_ok(), allowed, "{all:?}");
            assert_eq!(sites.check_management(None, &all).is_ok(), manages, "{all:?}");
            assert!(sites.check(&Method::GET, None, &all).is_ok(), "{all:?}");
            let keyed = Sites { keyless: false, check_host: false, ..sites };
            assert!(keyed.check(&Method::POST, None, &all).is_ok());
            assert!(keyed.check_management(None, &all).is_ok());
        }
        let evil = headers(&[("host", "evil.example"), ("origin", "http://evil.example")]);
        for method in [Method::GET, Method::POST] {
            let refused = sites(&["*"], &[]).check(&method, None, &evil).unwrap_err();
            assert!(refused.message.contains("--allowed-host"), "{refused}");
        }
        // The authority of the request's target has precedence over the header.
        assert!(
            sites(&[], &[]).check(&Method::GET, Some("evil.example"), &headers(&[host])).is_err()
        );
    }

    #[test]
    fn any_site_may_ask_where_any_is_listed_but_not_manage() {
        let sites = sites(&["*"], &[]);
        let all = headers(&[("host", "localhost"), ("origin", "https://evil.example")]);
        assert!(sites.check(&Method::POST, None, &all).is_ok());
        assert_eq!(sites.allowed(&all).unwrap(), "*");
        assert!(sites.check_management(None, &all).is_err());
    }

    #[test]
    fn default_ports_need_not_be_written() {
        let sites = sites(&[], &["models.example"]);
        let all = headers(&[("host", "models.example:443"), ("origin", "https://models.example")]);
        assert!(sites.check_management(None, &all).is_ok());
        let all = headers(&[("host", "models.example"), ("origin", "http://models.example:8080")]);
        assert!(sites.check_management(None, &all).is_err());
    }

    #[test]
    fn origins_are_read_as_browsers_write_them() {
        assert_eq!(origin("https://Page.example/").unwrap(), "https://page.example");
        assert_eq!(origin("*").unwrap(), "*");
        for bad in ["page.example", "https://", "https://a/b", "ftp://x", "https://a b"] {
            assert!(origin(bad).unwrap_err().contains("--cors-origin"), "{bad}");
        }
    }
}
