//! `simulator inspect`: one pass, as a table or as JSON.
