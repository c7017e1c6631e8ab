//! One repository of the fake GitHub: what stands in it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

/// One repository, in the form of REST; discussions in the form of GraphQL.
pub(crate) struct Repo {
    pub(super) name: String,
    /// The name that it has since it was renamed.
    pub(crate) renamed: Option<&'static str>,
    pub(super) id: u64,
    pub(super) issues: BTreeMap<u64, Value>,
    pub(super) comments: BTreeMap<u64, Value>,
    pub(super) reviews: BTreeMap<u64, Value>,
    pub(super) discussions: BTreeMap<u64, Value>,
    /// Comments that the list of all comments does not name.
    pub(crate) unlisted: BTreeSet<u64>,
    /// Ids of comments by the number of their thread.
    of: BTreeMap<u64, BTreeSet<u64>>,
}

impl Repo {
    pub(super) fn new(name: &str, id: u64) -> Self {
        Self {
            name: name.to_owned(),
            renamed: None,
            id,
            issues: BTreeMap::new(),
            comments: BTreeMap::new(),
            reviews: BTreeMap::new(),
            discussions: BTreeMap::new(),
            unlisted: BTreeSet::new(),
            of: BTreeMap::new(),
        }
    }

    /// Adds or replaces an issue that changed at `minute`.
    pub(crate) fn issue(&mut self, number: u64, minute: u32, fields: Value) {
        let mut issue = json!({
            "number": number, "title": format!("title {number}"), "body": format!("body {number}"), "state": "open",
            "user": {"login": "asker", "type": "User"}, "author_association": "NONE",
            "labels": [{"name": "bug"}], "reactions": {"total_count": 3},
            "created_at": time(0), "updated_at": time(minute),
            "html_url": format!("https://github.com/{}/issues/{number}", self.name),
        });
        merge(&mut issue, fields);
        self.issues.insert(number, issue);
    }

    /// Adds or replaces a comment that changed at `minute`. Its issue changed then too, as on GitHub.
    pub(crate) fn comment(&mut self, id: u64, number: u64, minute: u32, fields: Value) {
        let is_pull = self.issues.get(&number).is_some_and(|issue| issue.get("pull_request").is_some());
        let page = if is_pull { "pull" } else { "issues" };
        let mut comment = json!({
            "id": id, "body": format!("comment {id}"), "user": {"login": "helper", "type": "User"},
            "author_association": "MEMBER", "created_at": time(id as u32), "updated_at": time(minute),
            "issue_url": format!("https://api.github.com/repos/{}/issues/{number}", self.name),
            "html_url": format!("https://github.com/{}/{page}/{number}#issuecomment-{id}", self.name),
        });
        merge(&mut comment, fields);
        let thread = number_of(&comment).unwrap();
        self.comments.insert(id, comment);
        self.of.entry(thread).or_default().insert(id);
        self.touch(number, minute);
    }

    /// Adds or replaces a comment of a review that changed at `minute`.
    pub(crate) fn review(&mut self, id: u64, number: u64, minute: u32, fields: Value) {
        let mut comment = json!({
            "id": id, "body": format!("review {id}"), "user": {"login": "reviewer", "type": "User"},
            "author_association": "MEMBER", "created_at": time(id as u32), "updated_at": time(minute),
            "pull_request_url": format!("https://api.github.com/repos/{}/pulls/{number}", self.name),
            "html_url": format!("https://github.com/{}/pull/{number}#discussion_r{id}", self.name),
        });
        merge(&mut comment, fields);
        self.reviews.insert(id, comment);
        self.touch(number, minute);
    }

    /// Adds or replaces a discussion that changed at `minute`; its comments stand in `fields`, as lists of nodes.
    pub(crate) fn discussion(&mut self, number: u64, minute: u32, fields: Value) {
        let mut discussion = json!({
            "number": number, "title": format!("title {number}"), "body": format!("body {number}"), "closed": false,
            "stateReason": null, "author": {"__typename": "User", "login": "asker"}, "authorAssociation": "NONE",
            "labels": {"nodes": []}, "reactions": {"totalCount": 1}, "createdAt": time(0), "updatedAt": time(minute),
            "closedAt": null, "url": format!("https://github.com/{}/discussions/{number}", self.name), "comments": [],
        });
        merge(&mut discussion, fields);
        self.discussions.insert(number, discussion);
    }

    pub(crate) fn delete_issue(&mut self, number: u64) {
        self.issues.remove(&number);
        self.comments.retain(|_, comment| !is_of(comment, number));
        self.reviews.retain(|_, comment| !is_of(comment, number));
        self.of.remove(&number);
    }

    pub(crate) fn delete_discussion(&mut self, number: u64) {
        self.discussions.remove(&number);
    }

    pub(crate) fn delete_review(&mut self, id: u64) {
        self.reviews.remove(&id);
    }

    pub(crate) fn delete_comment(&mut self, id: u64) {
        if let Some(number) = self.comments.remove(&id).as_ref().and_then(number_of) {
            self.of.entry(number).or_default().remove(&id);
        }
    }

    /// Returns the name that it has.
    pub(super) fn now_named(&self) -> &str {
        self.renamed.unwrap_or(&self.name)
    }

    /// Returns an issue with its number of comments and the repository that has it now.
    pub(super) fn counted(&self, issue: &Value) -> Value {
        let mut issue = issue.clone();
        let number = issue["number"].as_u64().unwrap();
        let repository = format!("https://api.github.com/repos/{}", self.now_named());
        let comments = self.of.get(&number).map_or(0, BTreeSet::len);
        merge(&mut issue, json!({"comments": comments, "repository_url": repository}));
        issue
    }

    /// Returns the comments of one thread.
    pub(super) fn comments_of(&self, number: u64) -> Vec<(u64, &Value)> {
        let ids = self.of.get(&number).into_iter().flatten();
        ids.filter_map(|id| Some((*id, self.comments.get(id)?))).collect()
    }

    /// Returns the comments of the reviews of one pull request.
    pub(super) fn reviews_of(&self, number: u64) -> Vec<(u64, &Value)> {
        self.reviews.iter().filter(|(_, comment)| is_of(comment, number)).map(|(id, comment)| (*id, comment)).collect()
    }

    /// Returns the comments that the list of all of them names.
    pub(super) fn listed_comments(&self) -> Vec<(u64, &Value)> {
        let listed = self.comments.iter().filter(|(id, _)| !self.unlisted.contains(id));
        listed.map(|(id, comment)| (*id, comment)).collect()
    }

    fn touch(&mut self, number: u64, minute: u32) {
        if let Some(issue) = self.issues.get_mut(&number) {
            let later = issue["updated_at"].as_str().unwrap().max(&time(minute)).to_owned();
            issue["updated_at"] = later.into();
        }
    }
}

/// Returns a time of day in GitHub's form, `minute` minutes after an arbitrary noon.
pub(crate) fn time(minute: u32) -> String {
    let (hours, days) = (12 + minute / 60, (12 + minute / 60) / 24);
    let (month, day) = (5 + (5 + days) / 28, 1 + (5 + days) % 28);
    format!("{}-{:02}-{day:02}T{:02}:{:02}:00Z", 2024 + (month - 1) / 12, 1 + (month - 1) % 12, hours % 24, minute % 60)
}

fn is_of(comment: &Value, number: u64) -> bool {
    number_of(comment) == Some(number)
}

fn number_of(comment: &Value) -> Option<u64> {
    let address = comment["issue_url"].as_str().or(comment["pull_request_url"].as_str())?;
    address.rsplit_once('/')?.1.parse().ok()
}

fn merge(into: &mut Value, fields: Value) {
    let (Value::Object(into), Value::Object(fields)) = (into, fields) else { panic!("not an object") };
    into.extend(fields);
}
