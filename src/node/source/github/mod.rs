//! Threads of GitHub repositories: `source.github-issues`, `source.github-pulls`, `source.github-discussions`.
//!
//! The three kinds share one fetcher. By REST it lists all threads and then all comments of a repository by `Link` headers,
//! one request for each hundred, and joins them by number; by GraphQL it takes whole threads in batches. What both give
//! is the same to the byte. Issues go by GraphQL when there is a token and a first fetch takes fewer requests that way;
//! a refresh goes by REST, which also names comments that were edited, and costs nothing where nothing changed. Pull
//! requests always go by REST: their nested review threads would cost six points of GraphQL's limit for each twenty.
//! Discussions stand in GraphQL alone.
//!
//! A later fetch asks for what changed since the last one. How far each listing had come is pinned beside the records as
//! the output `cursor`, by the server's own times alone, so no clock decides what is asked for. What a cursor cannot see,
//! threads that were deleted or moved to another repository, a full sweep finds when its time has come.
//!
//! A fetch that stops half-way keeps its pages and goes on from the last one at the next try.
//!
//! | file | duty |
//! | --- | --- |
//! | `kind`, `settings`, `forecast` | the kinds as the engine sees them |
//! | `fetch` | from settings and the last snapshot to the news of all repositories |
//! | `rest`, `graphql` | the two ways to ask; `wire` and `nodes` are their forms of JSON, `queries` the questions |
//! | `join`, `seeded`, `sweep` | from lists to threads: of news, over a user's own file, of all that is there |
//! | `base`, `cursor`, `journal`, `seed` | what is known before: the last snapshot, pages of an earlier try, a user's file |
//! | `pool`, `watcher` | a few requests at once, and one pause for all of them |

mod base;
mod cursor;
mod error;
mod fetch;
mod forecast;
mod graphql;
mod join;
mod journal;
mod kind;
mod nodes;
mod pool;
mod queries;
mod rest;
mod seed;
mod seeded;
mod settings;
mod subject;
mod sweep;
mod watcher;
mod wire;

pub(super) use kind::{DISCUSSIONS, ISSUES, PULLS};
