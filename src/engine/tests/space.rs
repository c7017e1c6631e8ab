//! A project in a folder of its own, and builds of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use super::kinds::KINDS;
use crate::engine::{
    BuildOptions, BuildReport, Deploy, EngineError, Exclusions, KindCatalog, Known, Lockfile, Mode, Observer, OutWrite,
    Outcome, Plan, Resolver, Said, build, plan,
};
use crate::graph::{Graph, NodeIndex};
use crate::manifest::{Manifest, Overlays};
use crate::node::{self, Cancel, NodeError, Secrets};
use crate::store::{Artifact, Store};

/// A project: its root holds what a user has, `cache/` beside it what tunesmith has.
pub(super) struct Space {
    pub(super) folder: tempfile::TempDir,
    pub(super) remote: Option<PathBuf>,
    text: Mutex<String>,
    /// Lines of `runs.log` that were looked at.
    seen: Mutex<usize>,
}

/// What a command line asks for.
#[derive(Default)]
pub(super) struct Ask {
    pub(super) mode: Mode,
    pub(super) targets: Vec<String>,
    pub(super) from: Vec<String>,
    pub(super) profile: Option<String>,
    pub(super) set: Vec<String>,
    pub(super) deploy: bool,
    pub(super) keep_going: bool,
    pub(super) overwrite: bool,
    pub(super) cancel: Arc<Cancel>,
}

/// What a build came to.
#[derive(Debug)]
pub(super) struct Built {
    /// Outcomes by node, in a few words.
    pub(super) nodes: BTreeMap<String, String>,
    pub(super) known: BTreeMap<String, Arc<Known>>,
    pub(super) errors: BTreeMap<String, NodeError>,
    pub(super) out: BTreeMap<String, OutWrite>,
    pub(super) said: Vec<(String, Said)>,
}

struct NoSecrets;

impl Secrets for NoSecrets {
    fn environment(&self, _: &str) -> Option<String> {
        None
    }
}

#[derive(Default)]
struct Ears(Mutex<Vec<(String, Said)>>);

impl Observer for Ears {
    fn said(&self, node: &str, said: &Said) {
        self.0.lock().unwrap().push((node.to_owned(), said.clone()));
    }
}

impl Space {
    pub(super) fn new(manifest: &str) -> Self {
        let space =
            Self { folder: tempfile::tempdir().unwrap(), remote: None, text: Mutex::default(), seen: Mutex::default() };
        space.manifest(manifest);
        fs_err::create_dir_all(space.path("tree")).unwrap();
        space
    }

    /// A clone elsewhere that shares a folder with others.
    pub(super) fn sharing(manifest: &str, remote: &Path) -> Self {
        Self { remote: Some(remote.to_owned()), ..Self::new(manifest) }
    }

    pub(super) fn manifest(&self, text: &str) {
        *self.text.lock().unwrap() = format!("schema = 1\n{text}");
    }

    /// Changes the manifest's text.
    #[track_caller]
    pub(super) fn edit(&self, from: &str, to: &str) {
        let mut text = self.text.lock().unwrap();
        assert!(text.contains(from), "{from}");
        *text = text.replace(from, to);
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file below the folder.
    pub(super) fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs_err::create_dir_all(path.parent().unwrap()).unwrap();
        fs_err::write(path, text).unwrap();
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs_err::read_to_string(self.path(name)).unwrap()
    }

    /// Asks a node to behave as `word` says.
    pub(super) fn control(&self, node: &str, word: &str) {
        self.write(&format!("control/{node}"), word);
    }

    pub(super) fn obey(&self, node: &str) {
        fs_err::remove_file(self.path(&format!("control/{node}"))).unwrap();
    }

    /// Returns the lines that runs noted since the last call.
    pub(super) fn notes(&self) -> Vec<String> {
        let text = fs_err::read_to_string(self.path("runs.log")).unwrap_or_default();
        let mut seen = self.seen.lock().unwrap();
        let lines: Vec<String> = text.lines().skip(*seen).map(str::to_owned).collect();
        *seen += lines.len();
        lines
    }

    /// Returns the nodes that ran since the last call, sorted.
    pub(super) fn ran(&self) -> Vec<String> {
        let mut ran = self.notes();
        ran.retain(|line| !line.contains(' '));
        ran.sort();
        ran
    }

    pub(super) fn store(&self) -> Store {
        Store::open(&self.path("cache"), self.remote.as_deref()).unwrap()
    }

    /// Opens the project as a command does.
    pub(super) fn with<T>(&self, ask: &Ask, then: impl FnOnce(&Resolver<'_>, &BTreeSet<NodeIndex>, Deploy) -> T) -> T {
        let catalog = KindCatalog::of(node::kinds().into_iter().chain(KINDS.iter().copied()));
        let overlays = Overlays { profile: ask.profile.clone(), set: ask.set.clone() };
        let manifest = Manifest::parse("pipeline.toml", &self.text.lock().unwrap(), &overlays);
        let graph = Graph::build(&manifest, &catalog).unwrap_or_else(|problems| panic!("{problems:?}"));
        let lock = match &ask.profile {
            Some(profile) => format!("tree/pipeline.{profile}.lock"),
            None => "tree/pipeline.lock".to_owned(),
        };
        let store = self.store();
        let lock = Mutex::new(Lockfile::read(&self.path(&lock)).unwrap());
        let root = self.path("tree");
        let exclusions = Exclusions::read(&root.join("pipeline.excluded.jsonl")).unwrap();
        let resolver = Resolver {
            catalog: &catalog,
            graph: &graph,
            store: &store,
            lock: &lock,
            root: &root,
            profile: ask.profile.as_deref(),
            mode: &ask.mode,
            exclusions: &exclusions,
        };
        let selected = graph.select(&ask.targets, &[], &ask.from).unwrap().into_iter().collect();
        let named = ask.targets.iter().flat_map(|target| graph.resolve(target).unwrap()).collect();
        then(&resolver, &selected, Deploy { all: ask.deploy, named })
    }

    pub(super) fn try_build(&self, ask: &Ask) -> Result<Built, EngineError> {
        self.with(ask, |resolver, selected, deploy| {
            let ears = Ears::default();
            let options = BuildOptions {
                selected: selected.clone(),
                deploy,
                jobs: 4,
                threads: 2,
                memory: None,
                keep_going: ask.keep_going,
                overwrite: ask.overwrite,
                worker: None,
                observer: &ears,
                cancel: &ask.cancel,
                secrets: &NoSecrets,
            };
            let report = build(resolver, &options)?;
            Ok(Built::of(resolver.graph, &report, ears.0.into_inner().unwrap()))
        })
    }

    pub(super) fn build_with(&self, ask: &Ask) -> Built {
        self.try_build(ask).unwrap()
    }

    /// Builds all.
    pub(super) fn build(&self) -> Built {
        self.build_with(&Ask::default())
    }

    /// Builds all and returns what ran.
    pub(super) fn runs(&self) -> Vec<String> {
        let built = self.build();
        assert!(built.errors.is_empty(), "{:?}", built.errors);
        self.ran()
    }

    /// Plans; entries by node.
    pub(super) fn plan<T>(&self, ask: &Ask, then: impl FnOnce(&Graph, Plan) -> T) -> T {
        self.with(ask, |resolver, selected, deploy| then(resolver.graph, plan(resolver, selected, &deploy).unwrap()))
    }

    /// Returns the text of a node's output.
    pub(super) fn text_of(&self, known: &Known) -> String {
        let Artifact::File(file) = &known.outputs["text"] else { panic!("{known:?}") };
        fs_err::read_to_string(self.store().path(file).unwrap()).unwrap()
    }
}

impl Built {
    fn of(graph: &Graph, report: &BuildReport, said: Vec<(String, Said)>) -> Self {
        let mut built = Self {
            nodes: BTreeMap::new(),
            known: BTreeMap::new(),
            errors: BTreeMap::new(),
            out: BTreeMap::new(),
            said,
        };
        for node in &report.nodes {
            let name = &graph[node.index].name;
            let (words, known) = match &node.outcome {
                Outcome::Fresh(known) => ("fresh".to_owned(), Some(known)),
                Outcome::Built { known, unchanged: false, .. } => ("built".to_owned(), Some(known)),
                Outcome::Built { known, unchanged: true, .. } => ("built, unchanged".to_owned(), Some(known)),
                Outcome::Failed(error) => {
                    built.errors.insert(name.clone(), error.clone());
                    (format!("failed: {}", error.message), None)
                }
                Outcome::Skipped(cause) => (format!("skipped for {}", graph[*cause].name), None),
                Outcome::NotDeployed => ("not deployed".to_owned(), None),
                Outcome::NotReached => ("not reached".to_owned(), None),
            };
            built.nodes.insert(name.clone(), words);
            built.known.extend(known.map(|known| (name.clone(), Arc::clone(known))));
            built.out.extend(node.out.clone().map(|out| (name.clone(), out)));
        }
        built
    }

    /// Returns the reasons for which nodes ran, in words.
    pub(super) fn reasons(&self) -> BTreeMap<&str, String> {
        let mut reasons = BTreeMap::new();
        for (node, said) in &self.said {
            if let Said::Started { reason } = said {
                reasons.insert(node.as_str(), reason.to_string());
            }
        }
        reasons
    }

    pub(super) fn warnings(&self) -> Vec<&str> {
        let mut warnings = Vec::new();
        for (_, said) in &self.said {
            if let Said::Warning { text } = said {
                warnings.push(text.as_str());
            }
        }
        warnings
    }
}

/// Shortens a list of names.
pub(super) fn names(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}
