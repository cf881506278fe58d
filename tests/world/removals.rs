//! What applications remove by hand: keys, many keys, and whole caches.

use cachefront_core::Error;

use crate::database::Write;
use crate::keys::{Key, Kind, Line, lines_of, lines_of_text, marker_of, tag_of};
use crate::oracle::{self, Asked};
use crate::readers::{Reader, commit, random_key};
use crate::world::{Discarding, World};

/// What is removed by one call.
#[derive(Clone, Debug)]
enum Removal {
    One(Key),
    Many(Vec<Key>),
    All,
    /// All that have the tag of this key.
    Tag(Key),
}

impl Removal {
    fn draw(world: &World, kind: Kind) -> Self {
        let key = || random_key(world, kind);
        match world.random.below(10) {
            4 | 5 if world.config.features.has_tags(kind) => Self::Tag(key()),
            6 | 7 => Self::Many((0..world.random.between(2, 4)).map(|_| key()).collect()),
            8 | 9 => Self::All,
            _ => Self::One(key()),
        }
    }

    /// The keys that are read before and after; all are removed.
    fn keys(&self, world: &World, kind: Kind) -> Vec<Key> {
        match self {
            Self::One(key) | Self::Tag(key) => vec![*key],
            Self::Many(keys) => keys.clone(),
            Self::All => vec![random_key(world, kind)],
        }
    }

    /// What it removes in the caches of all releases.
    fn lines(&self, kind: Kind) -> Vec<Line> {
        match self {
            Self::One(key) => lines_of(kind.cache(), Some(key.number.into())).collect(),
            Self::Many(keys) => keys.iter().flat_map(|key| lines_of(kind.cache(), Some(key.number.into()))).collect(),
            Self::All => lines_of(kind.cache(), None).collect(),
            Self::Tag(key) => lines_of_text(&marker_of(key.number)).collect(),
        }
    }
}

impl Reader {
    /// Removes something by hand, from all tiers, while others read it; often after a commit of its own.
    pub(crate) async fn invalidate(self) {
        let (world, kind) = (&self.world, self.member().kind);
        let removal = Removal::draw(world, kind);
        let keys = removal.keys(world, kind);
        if world.random.chance(700) {
            commit(world, &writes_of(keys[0])).await;
        }
        let readers = async {
            for _ in 0..world.random.below(5) {
                let _ = self.one(keys[world.random.index(keys.len())], &Asked::default(), false).await;
            }
        };
        tokio::join!(self.remove(&removal), readers);
        for key in keys {
            let _ = self.one(key, &Asked::default(), true).await;
        }
    }

    async fn remove(&self, removal: &Removal) {
        let (world, kind, actor) = (&self.world, self.member().kind, self.process.actor);
        let begun = self.begin_to_remove();
        let outcome = self.call(removal).await;
        world.log(|| format!("{actor} removes {removal:?} of {kind:?} by hand: {:?}", outcome.is_ok()));
        let Some(begun) = begun else { return };
        {
            let discarding = &mut world.state().actors[actor].discarding;
            if let Some(at) = discarding.iter().position(|one| *one == begun) {
                discarding.swap_remove(at);
            }
        }
        if outcome.is_ok() {
            oracle::removed(world, &self.process, &removal.lines(kind), &begun);
        }
    }

    /// Notes what is visible before. A loader of a replica may see less, so that nothing can be said then.
    fn begin_to_remove(&self) -> Option<Discarding> {
        if self.world.config.replica {
            return None;
        }
        let now = self.world.now();
        let mut state = self.world.state();
        let primary = state.database.primary();
        let event = state.database.visible(primary, now);
        let me = &state.actors[self.process.actor];
        let server = me.reads?;
        let begun = Discarding { event, at: now, link: (server, me.moves, state.servers[server].copies) };
        state.actors[self.process.actor].discarding.push(begun);
        Some(begun)
    }

    async fn call(&self, removal: &Removal) -> Result<(), Error> {
        let cache = &self.member().cache;
        match removal {
            Removal::One(key) => cache.invalidate(key).await,
            Removal::Many(keys) => cache.invalidate_many(keys).await,
            Removal::All => cache.clear().await,
            Removal::Tag(key) => cache.invalidate_tag(&tag_of(key.number)).await,
        }
    }
}

/// Changes what this key stands for.
fn writes_of(key: Key) -> Vec<Write> {
    match key.kind {
        Kind::Orders => vec![Write::Order { number: key.number }],
        Kind::Mails => vec![Write::User { number: key.number, mail: Some(key.number) }],
        _ => vec![Write::User { number: key.number, mail: None }],
    }
}
