//! A comparer that asks the server: what it doesn't know yet it notes, to be asked for before the row is evaluated again.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Mutex;

use millrace_producer::expression::{Comparer, EvaluationError, Question};
use mysql_async::Conn;
use mysql_async::prelude::Queryable;

#[derive(Default)]
pub(super) struct Asking {
    /// By the SELECT that asks.
    answers: Mutex<HashMap<String, String>>,
    open: Mutex<Vec<String>>,
}

impl Asking {
    fn answer(&self, collation: &str, question: Question<'_>) -> Result<String, String> {
        let sql = question.sql(collation).unwrap();
        if let Some(answer) = self.answers.lock().unwrap().get(&sql) {
            return Ok(answer.clone());
        }
        self.open.lock().unwrap().push(sql);
        Err("not asked yet".to_owned())
    }

    /// Evaluates until nothing is left to be asked.
    pub(super) async fn until_known<T>(
        &self,
        conn: &mut Conn,
        evaluate: impl Fn(&Self) -> Result<T, EvaluationError>,
    ) -> Result<T, EvaluationError> {
        loop {
            let result = evaluate(self);
            let open = std::mem::take(&mut *self.open.lock().unwrap());
            if open.is_empty() {
                return result;
            }
            for sql in open {
                let answer: Option<Option<Vec<u8>>> = conn.query_first(&sql).await.unwrap();
                let answer = answer.unwrap().unwrap_or_else(|| panic!("no answer to {sql}"));
                self.answers.lock().unwrap().insert(sql, String::from_utf8(answer).unwrap());
            }
        }
    }
}

impl Comparer for Asking {
    fn compare(&self, collation: &str, a: &str, b: &str) -> Result<Ordering, String> {
        self.answer(collation, Question::Compare(a, b)).map(|answer| answer.parse::<i32>().unwrap().cmp(&0))
    }

    fn like(&self, collation: &str, text: &str, pattern: &str) -> Result<bool, String> {
        self.answer(collation, Question::Like(text, pattern)).map(|answer| answer == "1")
    }

    fn upper(&self, collation: &str, text: &str) -> Result<String, String> {
        self.answer(collation, Question::Upper(text))
    }

    fn lower(&self, collation: &str, text: &str) -> Result<String, String> {
        self.answer(collation, Question::Lower(text))
    }
}
