//! The schemas seen so far. A topic repeats its schema byte for byte in every record, so it is parsed once and compared
//! afterwards: parsing it takes about ten times as long as decoding the payload.

use std::collections::HashMap;
use std::sync::Arc;

use super::problem::{Part, Problem};
use super::schema::{self, Types};

/// Maximum number of schemas kept for each topic; the oldest one is dropped first.
const PER_TOPIC_MAX: usize = 8;
/// Maximum number of topics whose schemas are kept; beyond it all are dropped.
const TOPICS_MAX: usize = 4_096;

/// The schemas of keys or of values.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    topics: HashMap<Box<str>, Vec<Known>>,
}

/// Records that begin with the same bytes have the same schema.
#[derive(Debug)]
struct Known {
    /// Everything before the payload.
    prefix: Box<str>,
    types: Arc<Types>,
}

impl Schemas {
    /// Returns the text after a known schema, and the schema's types. The text is the payload if it is one JSON value.
    #[inline]
    pub(super) fn strip<'a>(&self, topic: &str, text: &'a str) -> Option<(&'a str, &Arc<Types>)> {
        if self.topics.is_empty() || !text.starts_with("{\"schema\":") {
            return None;
        }
        self.topics.get(topic)?.iter().find_map(|known| {
            let payload = text.strip_prefix(&*known.prefix)?.strip_suffix('}')?;
            Some((payload, &known.types))
        })
    }

    /// Returns the types of a schema, and keeps the schema if it precedes its payload.
    pub(super) fn learn(
        &mut self,
        topic: &str,
        whole: &str,
        schema: &str,
        payload: &str,
        part: Part,
    ) -> Result<Arc<Types>, Problem> {
        let types = Arc::new(schema::types(schema).map_err(|error| Problem::json(part, &error))?);
        let prefix = whole.strip_suffix('}').and_then(|rest| rest.strip_suffix(payload));
        if let Some(prefix) = prefix.filter(|prefix| prefix.ends_with("\"payload\":")) {
            if self.topics.len() >= TOPICS_MAX {
                self.topics.clear();
            }
            let known = self.topics.entry(topic.into()).or_default();
            if known.len() >= PER_TOPIC_MAX {
                known.remove(0);
            }
            known.push(Known { prefix: prefix.into(), types: Arc::clone(&types) });
        }
        Ok(types)
    }
}
