//! What a preflight finds about the topics.

use cachefront_core::Result;
use cachefront_core::event::lower;

use crate::probe::KafkaProbe;
use crate::scope::ControlTopics;
use crate::topics::Topics;

/// Returns findings about topics that do not exist, or are not read.
///
/// # Errors
/// If the user may not describe a topic.
pub(super) async fn absent_topics(probe: &KafkaProbe, control: &ControlTopics, topics: Topics) -> Result<Vec<String>> {
    let mut asked = vec![control.transactions.clone()];
    match &topics {
        Topics::Listed(listed) => asked.clone_from(listed),
        Topics::Pattern(_) if topics.has(&control.definitions) => asked.push(control.definitions.clone()),
        Topics::Pattern(_) => {}
    }
    let absent = probe.absent(asked.clone()).await?;
    let mut findings: Vec<String> = missing(&asked, &absent)
        .iter()
        .map(|topic| {
            format!(
                "topic {topic} does not exist: it is read from its beginning as soon as the connector creates it. If the \
                 table has rows that changed since the connector began, check that its table.include.list has the table: \
                 changes of a table that it does not capture are never seen"
            )
        })
        .collect();
    if !topics.has(&control.definitions) {
        findings.push(format!(
            "the topic {} is not read, so DROP, RENAME and ALTER of a mapped table are not seen: add it to `topics` \
             or `topic_pattern`",
            control.definitions
        ));
    }
    Ok(findings)
}

/// Returns what is missing from flattened rows.
pub(super) fn flattened(never_truncated: bool) -> String {
    let lost = "rows are flattened: the transformation drops the records of TRUNCATE, after which the cache keeps every row of \
                the table until its TTL expires";
    match never_truncated {
        true => format!("{lost}; it is stated that no mapped table is truncated"),
        false => format!(
            "{lost}. So no position is claimed, and reads with a token or a bound go to the database: use the envelope, or \
             state with `never_truncated` that no mapped table is ever truncated"
        ),
    }
}

/// Returns the absent topics of which no other spelling exists, each in the spelling that is asked for first.
fn missing<'a>(asked: &'a [String], absent: &[String]) -> Vec<&'a str> {
    let mut named: Vec<(String, &str)> = Vec::new();
    for topic in asked {
        let lower_case = lower(topic);
        let is_same = |other: &&String| lower(other) == lower_case;
        let exists = asked.iter().filter(is_same).any(|other| !absent.contains(other));
        if !exists && named.iter().all(|(other, _)| *other != lower_case) {
            named.push((lower_case, topic));
        }
    }
    named.into_iter().map(|(_, topic)| topic).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_spelling_of_a_topic_is_enough() {
        let owned = |topics: &[&str]| topics.iter().map(|&topic| topic.to_owned()).collect::<Vec<_>>();
        let asked = owned(&["t.app.Users", "t.app.Orders", "t", "t.app.users", "t.app.orders"]);
        let absent = owned(&["t.app.Users", "t.app.Orders", "t.app.orders"]);
        assert_eq!(missing(&asked, &absent), ["t.app.Orders"]);
    }
}
