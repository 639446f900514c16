//! A stand-in for the registry that answers from a script: for what a real one can't be made to do
//! (500, 429, silence, a cut connection). What a real registry says is tested in `live`.

use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// What the stand-in does with one request.
#[derive(Debug, Clone)]
pub(super) enum Answer {
    /// This status and body.
    Reply(u16, String),
    /// Nothing, with the connection kept open.
    Silence,
    /// Half of the announced body, then the connection is closed.
    Cut,
    /// The connection is closed without an answer.
    Close,
}

pub(super) fn reply(status: u16, body: &str) -> Answer {
    Answer::Reply(status, body.to_owned())
}

pub(super) struct StandIn {
    pub(super) url: String,
    requests: Arc<Mutex<Vec<String>>>,
}

impl StandIn {
    /// Answers the requests one after the other from `script`; beyond its end with status 599.
    pub(super) async fn scripted(script: Vec<Answer>) -> Self {
        let script = Mutex::new(script.into_iter());
        Self::answering(move |_| {
            let next = script.lock().unwrap().next();
            next.unwrap_or_else(|| reply(599, r#"{"error_code":599,"message":"script ended"}"#))
        })
        .await
    }

    /// Answers each request by what `answer` says to its first line.
    pub(super) async fn answering(answer: impl Fn(&str) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (log, answer) = (Arc::clone(&requests), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&log), Arc::clone(&answer)));
            }
        });
        Self { url, requests }
    }

    /// The requests so far, each with its head and body.
    pub(super) fn requests(&self) -> Vec<String> {
        self.requests.lock().unwrap().clone()
    }

    /// The first lines of the requests so far, without the protocol.
    pub(super) fn lines(&self) -> Vec<String> {
        let line = |request: &String| first_line(request).trim_end_matches(" HTTP/1.1").to_owned();
        self.requests().iter().map(line).collect()
    }
}

fn first_line(request: &str) -> &str {
    request.lines().next().unwrap_or_default()
}

async fn serve(mut stream: TcpStream, log: Arc<Mutex<Vec<String>>>, answer: Arc<impl Fn(&str) -> Answer>) {
    let request = request(&mut stream).await;
    log.lock().unwrap().push(request.clone());
    let head = |status: u16, length: usize| format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n");
    let bytes = match answer(first_line(&request)) {
        Answer::Reply(status, body) => head(status, body.len()) + &body,
        Answer::Cut => head(200, 1000) + r#"{"id":"#,
        Answer::Close => return,
        Answer::Silence => std::future::pending().await,
    };
    let _ = stream.write_all(bytes.as_bytes()).await;
}

async fn request(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
                return text;
            }
        }
        if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
            return text;
        }
    }
}
