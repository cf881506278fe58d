//! Tags in the public interface: how a cache gets them, and how a tag is invalidated.

use std::hash::Hash;
use std::sync::Arc;

use crate::cache::builder::CacheBuilder;
use crate::cache::handle::Cache;
use crate::error::Result;
use crate::event::{RowImage, TableName};
use crate::filter::Columns;
use crate::key::CacheKey;

impl<K, V> Cache<K, V>
where
    K: CacheKey + Clone + Eq + Hash + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Invalidates every value that has this tag, in all tiers of all processes, with the guarantee of
    /// [`invalidate`](Self::invalidate) for each. It costs the same for any number of values. Tags belong to one cache.
    ///
    /// ```
    /// use cachefront::{Cache, loader_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(async {
    /// let pages: Cache<String, u64> = Cache::builder("pages")
    ///     .tags_of(|path: &String| vec![path.split('/').next().unwrap_or_default().to_owned()])
    ///     .loader(loader_fn(|path: String| async move { Ok::<_, std::io::Error>(Some(path.len() as u64)) }))
    ///     .build()?;
    /// pages.get_many(["shop/1".to_owned(), "shop/2".to_owned(), "blog/1".to_owned()]).await?;
    /// pages.invalidate_tag("shop").await?;
    /// assert!(pages.peek(&"shop/2".to_owned()).await?.is_none());
    /// assert!(pages.peek(&"blog/1".to_owned()).await?.is_some());
    /// # Ok::<(), cachefront::Error>(())
    /// # }).expect("the example runs");
    /// ```
    ///
    /// # Errors
    /// As [`invalidate`](Self::invalidate).
    ///
    /// # Cancel safety
    /// As [`invalidate`](Self::invalidate).
    pub async fn invalidate_tag(&self, tag: &str) -> Result<()> {
        self.inner.invalidate_tags(std::iter::once(tag)).await
    }

    /// Like [`invalidate_tag`](Self::invalidate_tag), for many tags, as [`invalidate_many`](Self::invalidate_many) does it for keys.
    ///
    /// # Errors
    /// As [`invalidate_many`](Self::invalidate_many).
    ///
    /// # Cancel safety
    /// As [`invalidate`](Self::invalidate).
    pub async fn invalidate_tags(&self, tags: impl IntoIterator<Item = impl AsRef<str>>) -> Result<()> {
        self.inner.invalidate_tags(tags.into_iter()).await
    }
}

impl<K, V, C> CacheBuilder<K, V, C> {
    /// Lets values of this cache have tags, which its loader sets by [`LoadCx::tag`](crate::LoadCx::tag). A hit in the shared
    /// store reads the markers of the value's tags too, in one round trip more; a hit in the process-local tier costs what
    /// it always costs.
    ///
    /// A tag that the loader sets for the first time is not known when the load begins, so the key is loaded twice then (in
    /// `get_many`, it is stored by the next load). [`tags_of`](Self::tags_of) avoids that. Caches with and without
    /// tags do not share entries in CDC mode; in TTL mode, raise [`schema_version`](Self::schema_version) when a cache gets tags.
    ///
    /// Default: values have no tags, and one for which the loader sets a tag is not stored.
    pub fn tagged(mut self) -> Self {
        self.rules.set_tagged();
        self
    }

    /// Declares the tags that a key has whatever its value is, in addition to those that the loader sets; see
    /// [`tagged`](Self::tagged). The function must return the same tags for a key in every process and release.
    ///
    /// Default: none.
    pub fn tags_of<F>(mut self, tags_of: F) -> Self
    where
        F: Fn(&K) -> Vec<String> + Send + Sync + 'static,
    {
        self.tags_of = Some(Arc::new(tags_of));
        self.tagged()
    }

    /// Declares which tags have values made from a row of `table` (`database.table`), as
    /// [`depends_on_columns`](Self::depends_on_columns) does it for keys: a list is invalidated by a change of any of its rows,
    /// and an aggregate by that of any table that it is made from. `tags_of` runs on the row before a change and on the row
    /// after it, so a row that moves from one list to another invalidates both. See [`tagged`](Self::tagged).
    ///
    /// ```
    /// use cachefront::{Cache, CacheBuilder};
    ///
    /// // The products of a category, with the names of their makers.
    /// let lists: CacheBuilder<u64, Vec<String>> = Cache::builder("products-of-category")
    ///     .tags_of(|category| vec![format!("category:{category}")])
    ///     .depends_on_tags("shop.products", &["category_id"], |row| {
    ///         Ok(vec![format!("category:{}", row.get::<u64>("category_id")?)])
    ///     })
    ///     // The loader sets a tag `maker:7` for each maker that it finds.
    ///     .depends_on_tags("shop.makers", &["id"], |row| Ok(vec![format!("maker:{}", row.get::<u64>("id")?)]));
    /// ```
    pub fn depends_on_tags<F>(mut self, table: impl Into<TableName>, columns: &[&str], tags_of: F) -> Self
    where
        F: Fn(&RowImage) -> Result<Vec<String>> + Send + Sync + 'static,
    {
        let columns = Columns::Only(columns.iter().map(|&name| name.into()).collect());
        self.rules.add_tags(table.into(), columns, tags_of);
        self.tagged()
    }
}
