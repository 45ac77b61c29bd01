//! One node asks any one holder of a role, and then all.

use std::time::Duration;

use serde_json::json;

use super::{Story, ms};
use crate::demo::cast::name;
use crate::demo::orders::{Answer, Order, Report};
use crate::demo::parts::ORACLE;
use crate::demo::verdict::Promise;
use crate::duration::show_duration;
use crate::failure::Failure;

impl Story<'_> {
    /// One node asks any one holder of a role, and then all.
    pub(super) async fn ask(&mut self) -> Result<Promise, Failure> {
        let sender = self.parts.sender;
        let mut broken = Vec::new();
        let (answers, took) = self.question(false).await?;
        let one = answers.first().map_or("nobody".to_owned(), |answer| {
            self.cast.name_of(&answer.node)
        });
        broken.extend(self.check_answers(&answers));
        self.account.tell(
            "ask one",
            &format!(
                "{} asks any one oracle: {one} answers in {}",
                name(sender),
                show_duration(took)
            ),
            json!({ "answered_by": one, "ms": ms(took) }),
        )?;
        let (answers, took) = self.question(true).await?;
        broken.extend(self.check_answers(&answers));
        let mut who: Vec<String> = answers
            .iter()
            .filter(|answer| answer.said.is_ok())
            .map(|answer| self.cast.name_of(&answer.node))
            .collect();
        // As the cast counts: n2 before n10.
        who.sort_by_key(|name| (name.len(), name.clone()));
        let wanted: Vec<String> = self
            .parts
            .oracles
            .iter()
            .map(|&index| name(index))
            .collect();
        if who != wanted {
            broken.push(format!(
                "of the oracles {} the question to all was answered by {}",
                wanted.join(" "),
                who.join(" ")
            ));
        }
        self.account.tell(
            "ask all",
            &format!(
                "{} asks every oracle: {} answer in {}",
                name(sender),
                who.join(" "),
                show_duration(took)
            ),
            json!({ "answered_by": who, "ms": ms(took) }),
        )?;
        Ok(Promise {
            name: "requests",
            meaning:
                "the question to one was answered by one holder, the question to all by each, once"
                    .to_owned(),
            broken,
        })
    }

    async fn question(&mut self, all: bool) -> Result<(Vec<Answer>, Duration), Failure> {
        let sender = self.parts.sender;
        let order = Order::Ask {
            role: ORACLE.to_owned(),
            question: QUESTION.to_owned(),
            all,
        };
        self.cast.order(sender, &order).await?;
        let answers = |report| match report {
            Report::Answers { answers, took_us } => Some((answers, Duration::from_micros(took_us))),
            _ => None,
        };
        self.cast
            .await_one(sender, "has its answers", answers)
            .await
    }

    fn check_answers(&self, answers: &[Answer]) -> Vec<String> {
        let wrong = |answer: &Answer| {
            let who = self.cast.name_of(&answer.node);
            match &answer.said {
                Ok(said) if *said == format!("{who} heard {QUESTION:?}") => None,
                Ok(said) => Some(format!("{who} answered {said:?}")),
                Err(why) => Some(format!("{who} did not answer: {why}")),
            }
        };
        answers.iter().filter_map(wrong).collect()
    }
}

/// What the oracles are asked.
const QUESTION: &str = "what is the time?";
