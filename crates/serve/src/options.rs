//! What whoever starts a server decides.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::Duration,
};

use crate::{Keys, ServeError, Tls};

/// Where a server listens, whom it lets in, and how much it bears.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// The address; loopback unless told otherwise.
    pub host: IpAddr,
    /// The port; 0 takes one that is free.
    pub port: u16,
    /// Who may ask; without keys, whoever reaches the address.
    pub keys: Keys,
    /// Origins of web pages that may ask, such as `https://example.org`. Pages of this machine's
    /// loopback addresses may in any case; others are refused.
    pub origins: Vec<String>,
    /// The certificate with which connections are encrypted; none is plain HTTP.
    pub tls: Option<Tls>,
    /// The largest body of a request in bytes.
    pub max_body: usize,
    /// Connections that are open at one time; further ones wait to be accepted.
    pub max_connections: usize,
    /// Requests that one client may have at one time, running or waiting; none is as many as there are
    /// places.
    pub max_per_client: Option<usize>,
    /// A request's answer is complete after so long, or it ends with an error.
    pub deadline: Duration,
    /// A client has so long to send a request's headers, and again to send its body.
    pub patience: Duration,
    /// A client that takes nothing of its answer for so long is cut off.
    pub stall: Duration,
    /// Requests under way have so long to end once the server is asked to stop.
    pub drain: Duration,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: 8000,
            keys: Keys::default(),
            origins: Vec::new(),
            tls: None,
            max_body: 4 << 20,
            max_connections: 1024,
            max_per_client: None,
            deadline: Duration::from_mins(10),
            patience: Duration::from_secs(15),
            stall: Duration::from_secs(30),
            drain: Duration::from_secs(30),
        }
    }
}

impl ServeOptions {
    /// Checks that origins are such.
    pub(crate) fn check(&self) -> Result<(), ServeError> {
        for origin in &self.origins {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let fine = host.is_some_and(|host| {
                !host.is_empty() && !host.contains(['/', ' ', '*', ',']) && host.is_ascii()
            });
            if !fine {
                return Err(ServeError::Origin { origin: origin.clone() });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_a_scheme_and_a_host() {
        for (origin, fine) in [
            ("https://example.org", true),
            ("http://localhost:3000", true),
            ("*", false),
            ("example.org", false),
            ("https://example.org/", false),
            ("https://", false),
        ] {
            let options =
                ServeOptions { origins: vec![origin.to_owned()], ..ServeOptions::default() };
            assert_eq!(options.check().is_ok(), fine, "{origin}");
        }
    }
}
