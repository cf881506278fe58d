//! Queries whose rows may have other types than expected: an error then, where the driver's own functions panic.
//!
//! Servers change the types of their variables: `@@read_only` of MariaDB is a number up to 11 and a word from 12 on.

use std::fmt;

use mysql_async::prelude::{AsQuery, FromRow, Queryable, StatementLike};
use mysql_async::{Error as DriverFailure, Params, Row};

use crate::wire::DriverResult;

/// Runs queries and converts their rows. The errors are those of the server, and [`UnexpectedTypes`] in `Error::Other`.
pub(crate) trait RowsOf: Queryable {
    /// Returns the first row of a query.
    fn first_of<'a, T, S>(&'a mut self, sql: S) -> impl Future<Output = DriverResult<Option<T>>> + Send + 'a
    where
        T: FromRow + 'a,
        S: AsQuery + 'a,
    {
        let row = self.query_first::<Row, _>(sql);
        async { row.await?.map(converted).transpose() }
    }

    /// Returns the first row of a query with parameters.
    fn first_with<'a, T, S, P>(
        &'a mut self,
        sql: S,
        parameters: P,
    ) -> impl Future<Output = DriverResult<Option<T>>> + Send + 'a
    where
        T: FromRow + 'a,
        S: StatementLike + 'a,
        P: Into<Params> + Send + 'a,
    {
        let row = self.exec_first::<Row, _, _>(sql, parameters);
        async { row.await?.map(converted).transpose() }
    }

    /// Returns all rows of a query.
    fn all_of<'a, T, S>(&'a mut self, sql: S) -> impl Future<Output = DriverResult<Vec<T>>> + Send + 'a
    where
        T: FromRow + 'a,
        S: AsQuery + 'a,
    {
        let rows = self.query::<Row, _>(sql);
        async { rows.await?.into_iter().map(converted).collect() }
    }

    /// Returns all rows of a query with parameters.
    fn all_with<'a, T, S, P>(
        &'a mut self,
        sql: S,
        parameters: P,
    ) -> impl Future<Output = DriverResult<Vec<T>>> + Send + 'a
    where
        T: FromRow + 'a,
        S: StatementLike + 'a,
        P: Into<Params> + Send + 'a,
    {
        let rows = self.exec::<Row, _, _>(sql, parameters);
        async { rows.await?.into_iter().map(converted).collect() }
    }
}

impl<Q: Queryable + ?Sized> RowsOf for Q {}

/// A row has other columns, or columns of other types, than this release knows.
#[derive(Clone, Copy, Debug)]
pub(crate) struct UnexpectedTypes;

impl fmt::Display for UnexpectedTypes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the server returned values of other types than expected: its release may be newer than this library",
        )
    }
}

impl std::error::Error for UnexpectedTypes {}

fn converted<T: FromRow>(row: Row) -> DriverResult<T> {
    T::from_row_opt(row).map_err(|_| DriverFailure::Other(Box::new(UnexpectedTypes)))
}
