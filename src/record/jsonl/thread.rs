//! Issues and pull requests as the scripts' files and GitHub's API have them: authors and labels by name or as objects,
//! comments as a list or as their number.

use std::fmt;

use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::super::text::{LongText as _, Text};
use super::super::types::{Author, Comment, Thread};
use super::import::ImportError;

/// A thread before what stands for what in it is settled.
#[derive(Deserialize)]
pub(super) struct RawThread<'a> {
    #[serde(borrow)]
    repo: Option<Text<'a>>,
    number: u64,
    title: Option<Text<'a>>,
    body: Option<Body<'a>>,
    state: Option<Text<'a>>,
    state_reason: Option<Text<'a>>,
    #[serde(default)]
    labels: Vec<RawLabel<'a>>,
    #[serde(alias = "user")]
    author: Option<RawAuthor<'a>>,
    author_association: Option<Text<'a>>,
    created_at: Option<Text<'a>>,
    updated_at: Option<Text<'a>>,
    closed_at: Option<Text<'a>>,
    merged_at: Option<Text<'a>>,
    html_url: Option<Text<'a>>,
    url: Option<Text<'a>>,
    reactions: Option<Value>,
    comments: Option<RawComments<'a>>,
    review_threads: Option<Vec<Vec<RawComment<'a>>>>,
}

/// A long text.
struct Body<'a>(Text<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for Body<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Text::long(deserializer).map(Self)
    }
}

/// A label by its name, or as GitHub has it.
#[derive(Deserialize)]
#[serde(from = "Named<'a, RawLabelObject<'a>>")]
struct RawLabel<'a>(#[serde(borrow)] Text<'a>);

#[derive(Deserialize)]
struct RawLabelObject<'a> {
    #[serde(borrow)]
    name: Text<'a>,
}

/// An author by the login, or as GitHub has it.
#[derive(Deserialize)]
#[serde(from = "Named<'a, RawUser<'a>>")]
struct RawAuthor<'a> {
    #[serde(borrow)]
    login: Option<Text<'a>>,
    is_bot: bool,
}

#[derive(Deserialize)]
struct RawUser<'a> {
    #[serde(borrow)]
    login: Option<Text<'a>>,
    #[serde(rename = "type")]
    kind: Option<Text<'a>>,
}

impl<'a> From<Named<'a, RawLabelObject<'a>>> for RawLabel<'a> {
    fn from(label: Named<'a, RawLabelObject<'a>>) -> Self {
        match label {
            Named::Name(name) | Named::Object(RawLabelObject { name }) => Self(name),
        }
    }
}

impl<'a> From<Named<'a, RawUser<'a>>> for RawAuthor<'a> {
    fn from(author: Named<'a, RawUser<'a>>) -> Self {
        match author {
            Named::Name(login) => Self { login: Some(login), is_bot: false },
            Named::Object(RawUser { login, kind }) => Self { login, is_bot: kind.as_deref() == Some("Bot") },
        }
    }
}

/// A name, or an object that has it. Serde's own `untagged` would copy each value before it reads it.
enum Named<'a, T> {
    Name(Text<'a>),
    Object(T),
}

impl<'de: 'a, 'a, T: Deserialize<'de>> Deserialize<'de> for Named<'a, T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for Either<T> {
            type Value = Named<'de, T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name, or an object that has it")
            }

            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Named<'de, T>, E> {
                Ok(Named::Name(name.into()))
            }

            fn visit_str<E>(self, name: &str) -> Result<Named<'de, T>, E> {
                Ok(Named::Name(name.to_owned().into()))
            }

            fn visit_map<A: MapAccess<'de>>(self, object: A) -> Result<Named<'de, T>, A::Error> {
                T::deserialize(MapAccessDeserializer::new(object)).map(Named::Object)
            }
        }
        deserializer.deserialize_any(Either(std::marker::PhantomData))
    }
}

/// Comments; none where GitHub's own listing has their number.
struct RawComments<'a>(Vec<RawComment<'a>>);

impl<'de: 'a, 'a> Deserialize<'de> for RawComments<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = RawComments<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of comments, or their number")
            }

            fn visit_u64<E>(self, _: u64) -> Result<RawComments<'de>, E> {
                Ok(RawComments(Vec::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, comments: A) -> Result<RawComments<'de>, A::Error> {
                Vec::deserialize(SeqAccessDeserializer::new(comments)).map(RawComments)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<RawComments<'de>, A::Error> {
                while object.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(RawComments(Vec::new()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

#[derive(Deserialize)]
struct RawComment<'a> {
    id: Option<u64>,
    #[serde(borrow, alias = "user")]
    author: Option<RawAuthor<'a>>,
    author_association: Option<Text<'a>>,
    body: Option<Body<'a>>,
    created_at: Option<Text<'a>>,
    updated_at: Option<Text<'a>>,
    reactions: Option<Value>,
}

impl<'a> RawThread<'a> {
    /// Returns the thread; `repo` and `state` stand in for what it does not name.
    pub(super) fn thread<S: From<Text<'a>>>(
        self,
        repo: Option<&'a str>,
        state: &'static str,
    ) -> Result<Thread<S>, ImportError> {
        let repo = self.repo.or_else(|| repo.map(Text::from)).ok_or(ImportError::Missing("`repo`"))?;
        let comments = self.comments.map_or_else(Vec::new, |RawComments(comments)| comments);
        Ok(Thread {
            id: Text::from([&*repo, "#", self.number.to_string().as_str()].concat()).into(),
            repo: repo.into(),
            number: self.number,
            title: self.title.unwrap_or_default().into(),
            body: self.body.map_or_else(Text::default, |Body(body)| body).into(),
            state: self.state.unwrap_or_else(|| state.into()).into(),
            state_reason: self.state_reason.map(S::from),
            labels: self.labels.into_iter().map(|RawLabel(name)| name.into()).collect(),
            author: author(self.author, self.author_association),
            created_at: self.created_at.map(S::from),
            updated_at: self.updated_at.map(S::from),
            closed_at: self.closed_at.map(S::from),
            merged_at: self.merged_at.map(S::from),
            url: self.html_url.or(self.url).map(S::from),
            reactions: count(self.reactions.as_ref()),
            comments: in_order_of_time(comments),
            reviews: self.review_threads.unwrap_or_default().into_iter().map(in_order_of_time).collect(),
        })
    }
}

impl<'a> RawComment<'a> {
    fn comment<S: From<Text<'a>>>(self) -> Comment<S> {
        Comment {
            id: self.id,
            author: author(self.author, self.author_association),
            body: self.body.map_or_else(Text::default, |Body(body)| body).into(),
            created_at: self.created_at.map(S::from),
            updated_at: self.updated_at.map(S::from),
            reactions: count(self.reactions.as_ref()),
            reply_to: None,
            accepted: false,
        }
    }
}

/// RFC 3339 in UTC sorts as text; comments without a time stay where they are.
fn in_order_of_time<'a, S: From<Text<'a>>>(mut comments: Vec<RawComment<'a>>) -> Vec<Comment<S>> {
    if comments.iter().all(|comment| comment.created_at.is_some()) {
        comments.sort_by(|a, b| a.created_at.as_deref().cmp(&b.created_at.as_deref()));
    }
    comments.into_iter().map(RawComment::comment).collect()
}

fn author<'a, S: From<Text<'a>>>(raw: Option<RawAuthor<'a>>, association: Option<Text<'a>>) -> Author<S> {
    let (login, bot) = raw.map_or((None, false), |author| (author.login, author.is_bot));
    let login = login.filter(|login| !login.is_empty());
    Author { login: login.map(S::from), association: association.map(S::from), bot }
}

/// Returns how many reactions there are: a number, or GitHub's object with one for each and all of them.
fn count(raw: Option<&Value>) -> u64 {
    raw.and_then(|raw| raw.as_u64().or_else(|| raw.get("total_count")?.as_u64())).unwrap_or_default()
}
