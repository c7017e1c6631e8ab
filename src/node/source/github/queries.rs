//! The questions by GraphQL. Each one about a repository calls what it asks for `threads` or `thread`, whatever that is.

use super::subject::Subject;

const PAGE_INFO: &str = "pageInfo { hasNextPage endCursor }";
const COMMENT: &str = "body createdAt updatedAt authorAssociation author { __typename login } reactions { totalCount }";

/// Asks how much there is.
pub(super) fn totals(subject: Subject) -> String {
    let list = subject.connection();
    format!(
        "query Totals($owner: String!, $name: String!) {{ repository(owner: $owner, name: $name) {{ \
         threads: {list} {{ totalCount }} pulls: pullRequests {{ totalCount }} \
         newest: {list}(first: 1, orderBy: {{field: UPDATED_AT, direction: DESC}}) {{ nodes {{ updatedAt }} }} }} }}"
    )
}

/// Asks for a batch of whole threads, in order of their last change.
pub(super) fn threads(subject: Subject, is_newest_first: bool) -> String {
    let direction = if is_newest_first { "DESC" } else { "ASC" };
    let (since, filter) = match subject {
        Subject::Discussions => ("", ""),
        _ => (", $since: DateTime", ", filterBy: {since: $since}"),
    };
    format!(
        "query Threads($owner: String!, $name: String!, $first: Int!, $after: String{since}) {{ \
         repository(owner: $owner, name: $name) {{ threads: {}(first: $first, after: $after, \
         orderBy: {{field: UPDATED_AT, direction: {direction}}}{filter}) {{ {PAGE_INFO} nodes {{ {} }} }} }} }}",
        subject.connection(),
        fields(subject)
    )
}

/// Asks for one whole thread.
pub(super) fn thread(subject: Subject) -> String {
    format!(
        "query Thread($owner: String!, $name: String!, $number: Int!) {{ \
         repository(owner: $owner, name: $name) {{ thread: {}(number: $number) {{ {} }} }} }}",
        subject.singular(),
        fields(subject)
    )
}

/// Asks for further comments of one thread.
pub(super) fn comments(subject: Subject) -> String {
    format!(
        "query Comments($owner: String!, $name: String!, $number: Int!, $after: String) {{ \
         repository(owner: $owner, name: $name) {{ thread: {}(number: $number) {{ \
         comments(first: 100, after: $after) {{ {PAGE_INFO} nodes {{ {} }} }} }} }} }}",
        subject.singular(),
        comment_fields(subject)
    )
}

/// Asks for further replies to one comment.
pub(super) fn replies() -> String {
    format!(
        "query Replies($id: ID!, $after: String) {{ node(id: $id) {{ ... on DiscussionComment {{ \
         replies(first: 100, after: $after) {{ {PAGE_INFO} nodes {{ databaseId isAnswer {COMMENT} }} }} }} }} }}"
    )
}

/// Asks for the numbers of threads, each with its number of comments; GitHub counts the replies in discussions apart.
pub(super) fn numbers(subject: Subject) -> String {
    let comments = match subject {
        Subject::Discussions => {
            format!("comments(first: 100) {{ totalCount {PAGE_INFO} nodes {{ replies {{ totalCount }} }} }}")
        }
        _ => "comments { totalCount }".to_owned(),
    };
    format!(
        "query Numbers($owner: String!, $name: String!, $first: Int!, $after: String) {{ \
         repository(owner: $owner, name: $name) {{ threads: {}(first: $first, after: $after, \
         orderBy: {{field: CREATED_AT, direction: ASC}}) {{ totalCount {PAGE_INFO} \
         nodes {{ number {comments} }} }} }} }}",
        subject.connection()
    )
}

/// Returns what is asked of a thread.
fn fields(subject: Subject) -> String {
    let (own, first) = match subject {
        Subject::Discussions => ("closed stateReason", 50),
        _ => ("state stateReason(enableDuplicate: true)", 100),
    };
    format!(
        "number title body createdAt updatedAt closedAt url authorAssociation author {{ __typename login }} \
         labels(first: 100) {{ nodes {{ name }} }} reactions {{ totalCount }} {own} \
         comments(first: {first}) {{ {PAGE_INFO} nodes {{ {} }} }}",
        comment_fields(subject)
    )
}

/// Returns what is asked of a comment.
fn comment_fields(subject: Subject) -> String {
    match subject {
        Subject::Discussions => format!(
            "id databaseId isAnswer {COMMENT} \
             replies(first: 20) {{ totalCount {PAGE_INFO} nodes {{ databaseId isAnswer {COMMENT} }} }}"
        ),
        _ => format!("fullDatabaseId {COMMENT}"),
    }
}
