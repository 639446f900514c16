//! Asking the server what only its collations decide, for rules that are about texts.
//!
//! Rows are filtered on a thread that must not wait for anything asynchronous, so questions go to a thread of its own, with a connection of its own. Most rows
//! need no question, and answers are kept.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Mutex, PoisonError};

use super::connect::{Connector, Session};
use super::error::SourceError;
use crate::expression::{Comparer, Question};

/// Answers that are kept; with more, all are forgotten (G9).
const ANSWERS_MAX: usize = 20_000;
/// Bytes of a question whose answer is kept.
const KEPT_BYTES_MAX: usize = 1_024;

/// What the server said: a number or a text.
type Answer = Result<String, String>;

/// Has a server answer what its collations decide.
#[derive(Debug)]
pub struct ServerComparer {
    questions: Sender<(String, SyncSender<Answer>)>,
    /// By the statement that asks.
    answers: Mutex<HashMap<String, String>>,
}

impl ServerComparer {
    /// Asks the server of `connector`, to which it connects with the first question.
    ///
    /// # Errors
    /// A thread can't be started.
    pub fn new(connector: Connector) -> std::io::Result<Self> {
        let (questions, receiver) = mpsc::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        std::thread::Builder::new().name("comparer".to_owned()).spawn(move || runtime.block_on(answer(connector, receiver)))?;
        Ok(Self { questions, answers: Mutex::default() })
    }

    fn ask(&self, collation: &str, question: Question<'_>) -> Answer {
        let sql = question.sql(collation).ok_or_else(|| format!("{collation} isn't the name of a collation"))?;
        let kept = self.answers.lock().unwrap_or_else(PoisonError::into_inner).get(&sql).cloned();
        if let Some(answer) = kept {
            return Ok(answer);
        }
        let (sender, receiver) = mpsc::sync_channel(1);
        let ended = || "the connection that compares texts ended".to_owned();
        self.questions.send((sql.clone(), sender)).map_err(|_| ended())?;
        let answer = receiver.recv().map_err(|_| ended())??;
        if sql.len() <= KEPT_BYTES_MAX {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            if answers.len() >= ANSWERS_MAX {
                answers.clear();
            }
            answers.insert(sql, answer.clone());
        }
        Ok(answer)
    }
}

impl Comparer for ServerComparer {
    fn compare(&self, collation: &str, a: &str, b: &str) -> Result<Ordering, String> {
        match self.ask(collation, Question::Compare(a, b))?.as_str() {
            "-1" => Ok(Ordering::Less),
            "0" => Ok(Ordering::Equal),
            "1" => Ok(Ordering::Greater),
            other => Err(format!("the server says {other:?}")),
        }
    }

    fn like(&self, collation: &str, text: &str, pattern: &str) -> Result<bool, String> {
        match self.ask(collation, Question::Like(text, pattern))?.as_str() {
            "0" => Ok(false),
            "1" => Ok(true),
            other => Err(format!("the server says {other:?}")),
        }
    }

    fn upper(&self, collation: &str, text: &str) -> Result<String, String> {
        self.ask(collation, Question::Upper(text))
    }

    fn lower(&self, collation: &str, text: &str) -> Result<String, String> {
        self.ask(collation, Question::Lower(text))
    }
}

async fn answer(connector: Connector, questions: Receiver<(String, SyncSender<Answer>)>) {
    let mut session = None;
    // Nothing else runs on this thread, so waiting here keeps nobody.
    while let Ok((sql, sender)) = questions.recv() {
        let answer = ask(&connector, &mut session, &sql).await;
        if answer.is_err() {
            session = None;
        }
        let answer = answer.map_err(|error| error.to_string());
        // Who asked may have gone.
        let _ = sender.send(answer.and_then(|text| text.ok_or_else(|| "its character set lacks a character of the texts".to_owned())));
    }
}

/// Asks once, and once more over a new connection where an old one has failed: the server ends idle ones.
async fn ask(connector: &Connector, session: &mut Option<Session>, sql: &str) -> Result<Option<String>, SourceError> {
    if let Some(open) = session.as_mut()
        && let Ok(answer) = ask_over(open, sql).await
    {
        return Ok(answer);
    }
    ask_over(session.insert(connector.connect().await?), sql).await
}

async fn ask_over(session: &mut Session, sql: &str) -> Result<Option<String>, SourceError> {
    const DOING: &str = "asking the server to compare texts for a rule";
    let row = session.row(DOING, sql).await?;
    session.text(DOING, &row, 0)
}
