//! Schemas seen: a topic's records repeat them byte for byte, so they are read once and compared from then on.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{Part, Problem};
use super::schema::{self, Types};

const PER_TOPIC_MAX: usize = 8;
const TOPICS_MAX: usize = 4_096;

/// The schemas of keys or of values.
#[derive(Debug, Default)]
pub(super) struct Schemas {
    topics: HashMap<Box<str>, Vec<Known>>,
}

#[derive(Debug)]
struct Known {
    /// Everything before the payload.
    prefix: Box<[u8]>,
    types: Arc<Types>,
}

impl Schemas {
    /// The payload of a record whose schema was seen before, with the schema's types.
    #[inline]
    pub(super) fn strip<'a>(&self, topic: &str, bytes: &'a [u8]) -> Option<(&'a [u8], &Arc<Types>)> {
        if self.topics.is_empty() || !bytes.starts_with(b"{\"schema\":") {
            return None;
        }
        self.topics.get(topic)?.iter().find_map(|known| {
            let payload = bytes.strip_prefix(&*known.prefix)?.strip_suffix(b"}")?;
            Some((payload, &known.types))
        })
    }

    /// The types of a schema, which is kept if it stands before its payload.
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
            known.push(Known { prefix: prefix.as_bytes().into(), types: Arc::clone(&types) });
        }
        Ok(types)
    }
}
