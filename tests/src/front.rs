//! A stand-in for what the local schema registry can't say of itself: a way to the real one, on which some requests are answered here.
//!
//! Apicurio's Confluent API has no modes, and its users need a server of another kind beside it.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::failure::{Context, Result};

/// Bytes of a request's head at most.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// How a path must end, the status, and the body.
type Said = (String, u16, String);

/// A way to a registry.
#[derive(Debug)]
pub struct Front {
    /// Its address, with the real one's path.
    pub url: String,
    said: Arc<Mutex<Vec<Said>>>,
    accepting: JoinHandle<()>,
}

impl Front {
    /// A way to the registry at this address. All is answered there at first.
    ///
    /// # Errors
    /// If there is no port, or the address is none.
    pub async fn start(registry: &str) -> Result<Self> {
        let (host, path) = registry.strip_prefix("http://").and_then(|rest| rest.split_once('/')).context("an address with a path")?;
        let listener = TcpListener::bind("127.0.0.1:0").await.context("a port for a stand-in")?;
        let url = format!("http://{}/{path}", listener.local_addr()?);
        let said = Arc::new(Mutex::new(Vec::new()));
        let (real, answers) = (format!("http://{host}"), Arc::clone(&said));
        let http = reqwest::Client::builder().no_proxy().build()?;
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (http, real, answers) = (http.clone(), real.clone(), Arc::clone(&answers));
                // A client that goes away is none of anybody's business.
                tokio::spawn(async move { serve(stream, &http, &real, &answers).await });
            }
        });
        Ok(Self { url, said, accepting })
    }

    /// From now on requests whose path ends so are answered with this alone, and all others by the real one.
    pub fn says(&self, path_end: &str, status: u16, body: &str) {
        *self.said.lock().unwrap_or_else(PoisonError::into_inner) = vec![(path_end.to_owned(), status, body.to_owned())];
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Answers one request of a connection.
async fn serve(mut stream: TcpStream, http: &reqwest::Client, real: &str, answers: &Mutex<Vec<Said>>) -> Result<()> {
    let (head, body) = request(&mut stream).await?;
    let mut words = head.split(' ');
    let (method, target) = (words.next().context("a method")?, words.next().context("a path")?);
    let path = target.split('?').next().unwrap_or_default();
    let said = {
        let said = answers.lock().unwrap_or_else(PoisonError::into_inner);
        said.iter().find(|(end, ..)| path.ends_with(end.as_str())).map(|(_, status, body)| (*status, body.clone().into_bytes()))
    };
    let (status, body) = match said {
        Some(said) => said,
        None => {
            let method = reqwest::Method::from_bytes(method.as_bytes()).context("a method")?;
            let asked = http.request(method, format!("{real}{target}")).header("content-type", "application/json").body(body);
            let answer = asked.send().await.context("the registry")?;
            (answer.status().as_u16(), answer.bytes().await.context("the registry")?.to_vec())
        }
    };
    let head =
        format!("HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(&body).await?;
    Ok(stream.shutdown().await?)
}

/// A request's head, and its body.
async fn request(stream: &mut TcpStream) -> Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
            break end;
        }
        crate::scenario::must(bytes.len() < HEAD_BYTES_MAX && stream.read_buf(&mut bytes).await? > 0, || {
            "a request without an end".to_owned()
        })?;
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let length = head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse::<usize>().ok());
    let mut body = bytes.split_off(end + 4);
    let (read, length) = (body.len(), length.unwrap_or(0));
    body.resize(length.max(read), 0);
    stream.read_exact(&mut body[read..]).await?;
    Ok((head, body))
}
