//! What the caches of a world have that others do without: tags, values from row images, reads of one moment, serving modes.

use crate::keys::{Kind, ORDERS, USERS};
use crate::random::Random;

/// How orders get tags, which then invalidate them in place of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tags {
    /// They have none.
    Without,
    /// Their key says which.
    OfKeys,
    /// Their loader sets them.
    OfLoads,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Features {
    pub(crate) tags: Tags,
    /// Values that are functions of one row are replaced by it.
    pub(crate) row_images: bool,
    /// A load of many keys reads one snapshot, so that they can be read at one moment.
    pub(crate) snapshots: bool,
    /// Serving modes are switched.
    pub(crate) serving: bool,
}

impl Features {
    pub(crate) fn draw(random: &Random) -> Self {
        Self {
            tags: [Tags::Without, Tags::Without, Tags::OfKeys, Tags::OfLoads][random.index(4)],
            row_images: random.chance(400),
            snapshots: random.chance(500),
            serving: random.chance(250),
        }
    }

    pub(crate) fn has_tags(self, kind: Kind) -> bool {
        kind == Kind::Orders && self.tags != Tags::Without
    }

    /// The table whose rows are the values of this kind, if rows replace them.
    pub(crate) fn row_images_of(self, kind: Kind) -> Option<&'static str> {
        match kind {
            _ if !self.row_images || self.has_tags(kind) => None,
            Kind::UsersFirst => Some(USERS),
            Kind::Orders => Some(ORDERS),
            _ => None,
        }
    }
}
