//! A build that is killed at any moment, driver or worker: the next one ends with the bytes of an undisturbed one.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::support::count;
use crate::support::program::{Ran, program, tunesmith};
use crate::support::tiny::{outputs, project, undisturbed};

/// Kills, each at another moment of the build; and how many of them a long test makes.
const KILLS: (usize, usize) = (12, 200);
/// The longest that an orphan may take to notice that nobody waits for it.
const ORPHAN: Duration = Duration::from_secs(10);

fn start(folder: &Path) -> Child {
    program(folder).args(["build", "--json"]).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

/// Returns the processes that work in `folder`, by the arguments that they were started with.
fn workers(folder: &Path) -> Vec<u32> {
    let text = folder.to_string_lossy().into_owned();
    let processes =
        fs_err::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let works_here = |process: &u32| {
        let arguments = fs_err::read(PathBuf::from(format!("/proc/{process}/cmdline"))).unwrap_or_default();
        String::from_utf8_lossy(&arguments).contains(&text)
    };
    processes.filter(works_here).collect()
}

fn kill(process: u32) {
    Command::new("kill").args(["-9", &process.to_string()]).output().unwrap();
}

/// Returns the heavy nodes of which a build said that they were built.
fn built(lines: impl Iterator<Item = String>) -> Vec<String> {
    lines
        .filter_map(|line| serde_json::from_str::<Value>(&line).ok())
        .filter(|line| line["said"]["event"] == "built")
        .filter_map(|line| line["node"].as_str().map(str::to_owned))
        .filter(|node| ["expert", "gguf"].contains(&node.as_str()))
        .collect()
}

#[test]
fn a_build_that_was_killed_goes_on_to_the_same_bytes() {
    let begun = Instant::now();
    let expected = undisturbed();
    let whole = begun.elapsed();
    let kills = count(KILLS);
    for number in 0..kills {
        let space = project();
        let mut driver = start(space.path());
        std::thread::sleep(whole * (2 * number as u32 + 1) / (2 * kills as u32));
        let workers_then = workers(space.path());
        match workers_then.first() {
            // A worker alone: its driver says so and ends.
            Some(worker) if number % 2 == 0 => kill(*worker),
            _ => kill(driver.id()),
        }
        let before = built(BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok));
        driver.wait().unwrap();
        for (name, bytes) in outputs(space.path()) {
            let whole = expected.iter().find(|(other, _)| *other == name).unwrap();
            assert!(bytes == whole.1, "kill {number}: `{name}` is a part or another");
        }
        let waited = Instant::now();
        while !workers(space.path()).is_empty() {
            assert!(waited.elapsed() < ORPHAN, "kill {number}: {:?} goes on", workers(space.path()));
            std::thread::sleep(Duration::from_millis(20));
        }
        let ran = tunesmith(space.path(), &["build", "--json"]).expect(0);
        assert!(outputs(space.path()) == expected, "kill {number}");
        let again = built(ran.out.lines().map(str::to_owned));
        assert!(again.iter().all(|node| !before.contains(node)), "kill {number}: {before:?}, then {again:?}");
    }
}

#[test]
fn a_training_that_was_killed_goes_on_from_its_last_checkpoint_to_the_same_bytes() {
    let training = ["train.expert.epochs=12", "train.expert.batch-size=1", "train.expert.checkpoint-seconds=0"];
    let build = |command: &mut Command| {
        command.args(["build", "--json"]).args(training.iter().flat_map(|setting| ["--set", setting]));
    };
    let run = |folder: &Path| {
        let mut command = program(folder);
        build(&mut command);
        Ran::from(command.output().unwrap()).expect(0).out
    };
    let whole = project();
    run(whole.path());
    let space = project();
    // Twice: a resumed training is killed and resumed as well.
    for steps in [20, 60] {
        let mut command = program(space.path());
        build(&mut command);
        let mut driver = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(driver.stdout.take().unwrap()).lines().map_while(Result::ok);
        let far = |line: &String| {
            let said = &serde_json::from_str::<Value>(line).unwrap()["said"];
            said["unit"] == "steps" && said["done"].as_u64() >= Some(steps)
        };
        assert!(lines.into_iter().any(|line| far(&line)), "the training ended before step {steps}");
        workers(space.path()).into_iter().for_each(kill);
        kill(driver.id());
        driver.wait().unwrap();
    }
    let out = run(space.path());
    let resumed = out.lines().filter_map(|line| line.split_once("goes on after step ")?.1.split(' ').next());
    let resumed: Vec<u64> = resumed.map(|step| step.parse().unwrap()).collect();
    assert!(matches!(resumed.as_slice(), [step] if *step >= 59), "{resumed:?}");
    assert!(outputs(space.path()) == outputs(whole.path()));
}
