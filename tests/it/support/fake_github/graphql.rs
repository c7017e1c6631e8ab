//! GraphQL of the fake GitHub: as much of it as the questions that are asked need, over the same threads as REST.

use serde_json::{Value, json};

use super::repo::Repo;
use super::{Answer, TooMuch, World};

impl World {
    pub(super) fn graphql(&mut self, body: &[u8]) -> Answer {
        let asked: Value = serde_json::from_slice(body).unwrap();
        let (query, variables) = (asked["query"].as_str().unwrap(), &asked["variables"]);
        let name = format!(
            "{}/{}",
            variables["owner"].as_str().unwrap_or_default(),
            variables["name"].as_str().unwrap_or_default()
        );
        let operation = query.split(['(', ' ']).nth(1).unwrap_or_default();
        if operation == "Replies" {
            return self.replies(variables);
        }
        let Some(repo) = self.repos.get(&name) else { return absent("repository") };
        let first = variables["first"].as_u64().unwrap_or(100) as usize;
        let of_discussions = query.contains("discussion");
        let too_much = self.most.filter(|(most, _)| operation == "Threads" && first > *most).map(|(_, fate)| fate);
        if too_much == Some(TooMuch::Fails) {
            return Answer::new(502, "<html>Bad Gateway</html>");
        }
        let repository = match operation {
            "Totals" => totals(repo, of_discussions),
            "Threads" | "Numbers" => {
                let (list, ids) = threads(repo, query, variables, first, of_discussions);
                if too_much.is_none() {
                    *self.given.last_mut().unwrap() = ids;
                }
                json!({ "threads": list })
            }
            "Thread" | "Comments" => match one(repo, query, variables, of_discussions) {
                Some(thread) => json!({ "thread": thread }),
                None => return absent("thread"),
            },
            _ => panic!("unknown question: {query}"),
        };
        let mut answer = json!({"data": {"repository": repository}});
        if too_much.is_some() {
            let nodes = answer["data"]["repository"]["threads"]["nodes"].as_array_mut().unwrap();
            nodes.iter_mut().skip(1).for_each(|node| *node = Value::Null);
            answer["errors"] = json!([{"message": "Something went wrong while executing your query."}]);
        }
        Answer::new(200, &answer.to_string())
    }

    fn replies(&self, variables: &Value) -> Answer {
        let comments = self.repos.values().flat_map(|repo| repo.discussions.values());
        let mut comments = comments.flat_map(|discussion| discussion["comments"].as_array().unwrap());
        let Some(comment) = comments.find(|comment| comment["id"] == variables["id"]) else { return absent("node") };
        let list = slice(replies(comment), 100, &variables["after"]);
        Answer::new(200, &json!({"data": {"node": {"replies": list}}}).to_string())
    }
}

fn absent(what: &str) -> Answer {
    let error = json!({"type": "NOT_FOUND", "path": [what], "message": format!("Could not resolve to a {what}.")});
    Answer::new(200, &json!({"data": {"repository": null}, "errors": [error]}).to_string())
}

fn is_pull(issue: &Value) -> bool {
    issue.get("pull_request").is_some_and(|pull| !pull.is_null())
}

fn totals(repo: &Repo, of_discussions: bool) -> Value {
    let pulls = repo.issues.values().filter(|issue| is_pull(issue)).count();
    let (count, newest) = if of_discussions {
        let times = repo.discussions.values().filter_map(|it| it["updatedAt"].as_str());
        (repo.discussions.len(), times.max())
    } else {
        let issues = repo.issues.values().filter(|issue| !is_pull(issue));
        (repo.issues.len() - pulls, issues.filter_map(|it| it["updated_at"].as_str()).max())
    };
    let newest: Vec<Value> = newest.map(|newest| json!({"updatedAt": newest})).into_iter().collect();
    json!({"threads": {"totalCount": count}, "pulls": {"totalCount": pulls}, "newest": {"nodes": newest}})
}

/// Returns a page of the list of threads, and the numbers on it.
fn threads(repo: &Repo, query: &str, variables: &Value, first: usize, of_discussions: bool) -> (Value, Vec<u64>) {
    let of_pulls = query.contains("threads: pullRequests");
    let (all, updated): (Vec<&Value>, &str) = if of_discussions {
        (repo.discussions.values().collect(), "updatedAt")
    } else {
        (repo.issues.values().filter(|issue| is_pull(issue) == of_pulls).collect(), "updated_at")
    };
    let since = variables["since"].as_str().filter(|_| query.contains("filterBy")).unwrap_or_default();
    let is_by_creation = query.contains("CREATED_AT");
    let place = |it: &Value| {
        let by = if is_by_creation { "" } else { it[updated].as_str().unwrap() };
        format!("{by}_{:010}", it["number"].as_u64().unwrap())
    };
    let all = all.into_iter().filter(|it| it[updated].as_str().unwrap() >= since);
    let mut all: Vec<(String, &Value)> = all.map(|it| (place(it), it)).collect();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    let is_newest_first = query.contains("DESC");
    if is_newest_first {
        all.reverse();
    }
    let total = all.len();
    let after = variables["after"].as_str().unwrap_or_default();
    let is_after = |place: &str| after.is_empty() || if is_newest_first { place < after } else { place > after };
    let rest: Vec<(String, &Value)> = all.into_iter().filter(|(place, _)| is_after(place)).collect();
    let end = rest.get(..first.min(rest.len())).and_then(|page| page.last()).map(|(place, _)| place.clone());
    let page: Vec<&Value> = rest.iter().take(first).map(|(_, it)| *it).collect();
    let ids = page.iter().filter_map(|it| it["number"].as_u64()).collect();
    let nodes: Vec<Value> = page.iter().map(|it| node(repo, it, query, of_discussions)).collect();
    let info = json!({"hasNextPage": rest.len() > page.len(), "endCursor": end});
    (json!({"totalCount": total, "pageInfo": info, "nodes": nodes}), ids)
}

fn one(repo: &Repo, query: &str, variables: &Value, of_discussions: bool) -> Option<Value> {
    let number = variables["number"].as_u64().unwrap();
    let thread = if of_discussions { repo.discussions.get(&number) } else { repo.issues.get(&number) }?;
    let mut node = node(repo, thread, query, of_discussions);
    if !variables["after"].is_null() {
        let all = comments(repo, thread, of_discussions);
        node["comments"] = slice(all, 100, &variables["after"]);
    }
    Some(node)
}

/// Returns a thread as GraphQL has it.
fn node(repo: &Repo, thread: &Value, query: &str, of_discussions: bool) -> Value {
    let first = query.split("comments(first: ").nth(1).and_then(|rest| rest.split([')', ',']).next()?.parse().ok());
    let comments = slice(comments(repo, thread, of_discussions), first.unwrap_or(0), &Value::Null);
    let mut node = if of_discussions {
        thread.clone()
    } else {
        json!({
            "number": thread["number"], "title": thread["title"], "body": thread["body"],
            "state": upper(&thread["state"]), "stateReason": upper(&thread["state_reason"]),
            "createdAt": thread["created_at"], "updatedAt": thread["updated_at"], "closedAt": thread["closed_at"],
            "url": thread["html_url"], "author": actor(&thread["user"]),
            "authorAssociation": thread["author_association"], "labels": {"nodes": thread["labels"]},
            "reactions": {"totalCount": thread["reactions"]["total_count"].as_u64().unwrap_or(0)},
        })
    };
    node["comments"] = comments;
    node
}

/// Returns all comments of a thread as GraphQL has them.
fn comments(repo: &Repo, thread: &Value, of_discussions: bool) -> Vec<Value> {
    if of_discussions {
        let comments = thread["comments"].as_array().unwrap().iter().cloned();
        return comments
            .map(|mut comment| {
                comment["replies"] = slice(replies(&comment), 20, &Value::Null);
                comment
            })
            .collect();
    }
    let of = repo.comments_of(thread["number"].as_u64().unwrap());
    let comment = |comment: &Value| {
        json!({
            "fullDatabaseId": comment["id"].to_string(), "body": comment["body"], "createdAt": comment["created_at"],
            "updatedAt": comment["updated_at"], "author": actor(&comment["user"]),
            "authorAssociation": comment["author_association"],
            "reactions": {"totalCount": comment["reactions"]["total_count"].as_u64().unwrap_or(0)},
        })
    };
    of.into_iter().map(|(_, it)| comment(it)).collect()
}

/// Returns the replies to a comment, which have none themselves.
fn replies(comment: &Value) -> Vec<Value> {
    let mut replies = comment["replies"].as_array().cloned().unwrap_or_default();
    for reply in &mut replies {
        reply.as_object_mut().unwrap().remove("replies");
    }
    replies
}

/// Returns a page of a list whose places are numbers.
fn slice(all: Vec<Value>, first: usize, after: &Value) -> Value {
    let at: usize = after.as_str().map_or(0, |after| after.parse().unwrap());
    let total = all.len();
    let page: Vec<Value> = all.into_iter().skip(at).take(first).collect();
    let end = at + page.len();
    json!({"totalCount": total, "pageInfo": {"hasNextPage": end < total, "endCursor": end.to_string()}, "nodes": page})
}

fn upper(value: &Value) -> Value {
    value.as_str().map_or(Value::Null, |text| text.to_ascii_uppercase().into())
}

/// Writes an author as GraphQL does: no deleted ones, and programs without the end of their login.
fn actor(user: &Value) -> Value {
    match (user["login"].as_str(), user["type"].as_str()) {
        (None | Some("ghost"), _) => Value::Null,
        (Some(login), Some("Bot")) => json!({"__typename": "Bot", "login": login.trim_end_matches("[bot]")}),
        (Some(login), _) => json!({"__typename": "User", "login": login}),
    }
}
