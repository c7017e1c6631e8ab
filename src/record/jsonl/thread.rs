//! Issues and pull requests as the scripts' files and GitHub's API have them: authors and labels by name or as objects,
//! comments as a list or as their number.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use serde_json::value::RawValue;

use super::super::quoted;
use super::super::types::{Author, Comment, Thread};
use super::import::ImportError;

/// A thread before what stands for what in it is settled.
#[derive(Deserialize)]
pub(super) struct RawThread {
    repo: Option<String>,
    number: u64,
    title: Option<String>,
    body: Option<Text>,
    state: Option<String>,
    state_reason: Option<String>,
    #[serde(default)]
    labels: Vec<RawLabel>,
    #[serde(alias = "user")]
    author: Option<RawAuthor>,
    author_association: Option<String>,
    created_at: Option<String>,
    updated_at: Option<String>,
    closed_at: Option<String>,
    merged_at: Option<String>,
    html_url: Option<String>,
    url: Option<String>,
    reactions: Option<Value>,
    comments: Option<RawComments>,
    review_threads: Option<Vec<Vec<RawComment>>>,
}

/// A long text.
struct Text(String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let json = <&RawValue>::deserialize(deserializer)?.get();
        quoted::read(json).map(Self).map_err(|error| {
            // The place in the value is none in the line, which the deserializer adds.
            let error = error.to_string();
            D::Error::custom(error.rsplit_once(" at line ").map_or(error.as_str(), |(what, _)| what))
        })
    }
}

/// A label by its name, or as GitHub has it.
#[derive(Deserialize)]
#[serde(from = "Named<RawLabelObject>")]
struct RawLabel(String);

#[derive(Deserialize)]
struct RawLabelObject {
    name: String,
}

/// An author by the login, or as GitHub has it.
#[derive(Deserialize)]
#[serde(from = "Named<RawUser>")]
struct RawAuthor {
    login: Option<String>,
    is_bot: bool,
}

#[derive(Deserialize)]
struct RawUser {
    login: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

impl From<Named<RawLabelObject>> for RawLabel {
    fn from(label: Named<RawLabelObject>) -> Self {
        match label {
            Named::Name(name) | Named::Object(RawLabelObject { name }) => Self(name),
        }
    }
}

impl From<Named<RawUser>> for RawAuthor {
    fn from(author: Named<RawUser>) -> Self {
        match author {
            Named::Name(login) => Self { login: Some(login), is_bot: false },
            Named::Object(RawUser { login, kind }) => Self { login, is_bot: kind.as_deref() == Some("Bot") },
        }
    }
}

/// A name, or an object that has it. Serde's own `untagged` would copy each value before it reads it.
enum Named<T> {
    Name(String),
    Object(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Named<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or an object that has it")
            }

            fn visit_str<E>(self, name: &str) -> Result<Named<T>, E> {
                Ok(Named::Name(name.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Named<T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(object)).map(Named::Object)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

/// Comments; none where GitHub's own listing has their number.
struct RawComments(Vec<RawComment>);

impl<'de> Deserialize<'de> for RawComments {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawComments;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of comments, or their number")
            }

            fn visit_u64<E>(self, _: u64) -> Result<RawComments, E> {
                Ok(RawComments(Vec::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, comments: A) -> Result<RawComments, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(comments)).map(RawComments)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RawComments, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(RawComments(Vec::new()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
struct RawComment {
    id: Option<u64>,
    #[serde(alias = "user")]
    author: Option<RawAuthor>,
    author_association: Option<String>,
    body: Option<Text>,
    created_at: Option<String>,
    updated_at: Option<String>,
    reactions: Option<Value>,
}

impl RawThread {
    /// Returns the thread; `repo` and `state` stand in for what it does not name.
    pub(super) fn thread(self, repo: Option<&str>, state: &str) -> Result<Thread, ImportError> {
        let repo = self.repo.or_else(|| repo.map(str::to_owned)).ok_or(ImportError::Missing("`repo`"))?;
        let comments = self.comments.map_or_else(Vec::new, |RawComments(comments)| comments);
        Ok(Thread {
            id: [&repo, "#", self.number.to_string().as_str()].concat(),
            repo,
            number: self.number,
            title: self.title.unwrap_or_default(),
            body: self.body.map_or_else(String::new, |Text(body)| body),
            state: self.state.unwrap_or_else(|| state.to_owned()),
            state_reason: self.state_reason,
            labels: self.labels.into_iter().map(|RawLabel(name)| name).collect(),
            author: author(self.author, self.author_association),
            created_at: self.created_at,
            updated_at: self.updated_at,
            closed_at: self.closed_at,
            merged_at: self.merged_at,
            url: self.html_url.or(self.url),
            reactions: count(self.reactions.as_ref()),
            comments: in_order_of_time(comments),
            reviews: self.review_threads.unwrap_or_default().into_iter().map(in_order_of_time).collect(),
        })
    }
}

impl RawComment {
    fn comment(self) -> Comment {
        Comment {
            id: self.id,
            author: author(self.author, self.author_association),
            body: self.body.map_or_else(String::new, |Text(body)| body),
            created_at: self.created_at,
            updated_at: self.updated_at,
            reactions: count(self.reactions.as_ref()),
            reply_to: None,
            accepted: false,
        }
    }
}

/// RFC 3339 in UTC sorts as text; comments without a time stay where they are.
fn in_order_of_time(comments: Vec<RawComment>) -> Vec<Comment> {
    let mut comments: Vec<Comment> = comments.into_iter().map(RawComment::comment).collect();
    if comments.iter().all(|comment| comment.created_at.is_some()) {
        comments.sort_by(|a, b| a.created_at.cmp(&b.created_at));
    }
    comments
}

fn author(raw: Option<RawAuthor>, association: Option<String>) -> Author {
    let (login, bot) = raw.map_or((None, false), |author| (author.login, author.is_bot));
    Author { login: login.filter(|login| !login.is_empty()), association, bot }
}

/// Returns how many reactions there are: a number, or GitHub's object with one for each and all of them.
fn count(raw: Option<&Value>) -> u64 {
    raw.and_then(|raw| raw.as_u64().or_else(|| raw.get("total_count")?.as_u64())).unwrap_or_default()
}
