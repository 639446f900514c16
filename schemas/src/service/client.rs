//! Asks a running producer or consumer for its status.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no status.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// Nothing answers.
    #[error("the {what} at {url} can't be reached: {cause}; is it running, and with this http.listen?")]
    Unreachable {
        /// Producer or consumer.
        what: &'static str,
        /// The address.
        url: String,
        /// The innermost reason.
        cause: String,
    },
    /// Something else answers.
    #[error("what answers at {url} is no {what}: {answer}")]
    Other {
        /// Producer or consumer.
        what: &'static str,
        /// The address.
        url: String,
        /// What it said.
        answer: String,
    },
}

/// The address under which the endpoints of this machine that listen on `listen` are reached.
#[must_use]
pub fn address(listen: SocketAddr) -> String {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    format!("http://{}", SocketAddr::new(ip, listen.port()))
}

/// The `/status` of the endpoints at `url`, which are to be a producer's or consumer's; `is_one` knows its status.
///
/// # Errors
/// [`StatusError`].
pub async fn fetch(what: &'static str, url: &str, is_one: fn(&Value) -> bool) -> Result<Value, StatusError> {
    let unreachable = |error: reqwest::Error| StatusError::Unreachable { what, url: url.to_owned(), cause: innermost(&error) };
    let other = |answer: String| StatusError::Other { what, url: url.to_owned(), answer };
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().map_err(unreachable)?;
    let answer = client.get(format!("{}/status", url.trim_end_matches('/'))).send().await.map_err(unreachable)?;
    if !answer.status().is_success() {
        return Err(other(format!("it says {}", answer.status())));
    }
    let body = answer.text().await.map_err(unreachable)?;
    let status: Value = serde_json::from_str(&body).map_err(|error| other(format!("its answer isn't JSON: {error}")))?;
    match is_one(&status) {
        true => Ok(status),
        false => Err(other("its status is another one's".to_owned())),
    }
}

fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(next) = cause.source() {
        cause = next;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use prometheus_client::registry::Registry;

    use super::*;
    use crate::service::http::{self, Probe};
    use crate::service::shutdown::Shutdown;

    struct Named;

    impl Probe for Named {
        fn healthy(&self) -> Result<(), String> {
            Ok(())
        }

        fn ready(&self) -> Result<(), String> {
            Ok(())
        }

        fn status(&self) -> Value {
            serde_json::json!({ "name": "n" })
        }
    }

    #[test]
    fn an_address_for_all_interfaces_is_asked_on_loopback() {
        for (listen, url) in
            [("0.0.0.0:9101", "http://127.0.0.1:9101"), ("[::]:9101", "http://[::1]:9101"), ("10.0.0.7:80", "http://10.0.0.7:80")]
        {
            assert_eq!(address(listen.parse().unwrap()), url);
        }
    }

    #[tokio::test]
    async fn who_runs_answers_and_who_stopped_is_told_in_one_line() {
        let server =
            http::serve("127.0.0.1:0".parse().unwrap(), Arc::new(Named), Arc::new(Registry::default()), Shutdown::new()).await.unwrap();
        let url = address(server.address());
        assert_eq!(fetch("producer", &url, |status| status["name"].is_string()).await.unwrap()["name"], "n");
        let wrong = fetch("producer", &url, |status| status["group"].is_string()).await.unwrap_err();
        assert!(matches!(wrong, StatusError::Other { .. }) && wrong.to_string().contains("no producer"), "{wrong}");
        let elsewhere = fetch("producer", &format!("{url}/x"), |_| true).await.unwrap_err();
        assert!(matches!(elsewhere, StatusError::Other { .. }), "{elsewhere}");
        drop(server);
        let free = async {
            while tokio::net::TcpStream::connect(url.trim_start_matches("http://")).await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(TIMEOUT, free).await.unwrap();
        let gone = fetch("producer", &url, |_| true).await.unwrap_err();
        assert!(matches!(gone, StatusError::Unreachable { .. }), "{gone}");
        let line = gone.to_string();
        assert!(line.contains(&url) && line.contains("is it running") && !line.contains('\n'), "{line}");
    }
}
