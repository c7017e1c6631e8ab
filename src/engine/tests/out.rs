//! `out`: files of the work tree.

use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use super::space::{Ask, Space, names};
use crate::engine::OutWrite;

fn space(rest: &str) -> Space {
    let space = Space::new(&format!("[source.a]\ntype = \"text\"\npath = \"a.txt\"\nout = \"data/a.out\"\n{rest}"));
    space.write("tree/a.txt", "a");
    space
}

#[test]
fn an_out_is_written_once_and_again_when_it_was_deleted() {
    let space = space("");
    assert_eq!(space.build().out["a"], OutWrite::Written);
    let inode = || fs_err::metadata(space.path("tree/data/a.out")).unwrap().ino();
    let first = inode();
    assert_eq!(space.build().out["a"], OutWrite::Right);
    assert_eq!(inode(), first);
    fs_err::remove_dir_all(space.path("tree/data")).unwrap();
    assert_eq!(space.build().out["a"], OutWrite::Written);
    assert_eq!(space.read("tree/data/a.out"), "a");
    assert_eq!(space.ran(), names("a"));
}

#[test]
fn an_out_is_a_writable_copy_and_no_link_to_the_store() {
    let space = space("");
    space.build();
    let metadata = fs_err::metadata(space.path("tree/data/a.out")).unwrap();
    assert_eq!((metadata.nlink(), metadata.permissions().mode() & 0o777), (1, 0o644));
    space.write("tree/data/a.out", "edited in place");
    let built = space.build();
    assert_eq!(space.text_of(&built.known["a"]), "a");
}

#[test]
fn an_edited_out_is_left_alone_until_it_may_be_overwritten() {
    let space = space("");
    space.build();
    space.write("tree/data/a.out", "mine");
    assert_eq!(space.build().out["a"], OutWrite::Edited);
    space.write("tree/a.txt", "b");
    assert_eq!(space.build().out["a"], OutWrite::Edited, "nor when there is something new");
    assert_eq!(space.read("tree/data/a.out"), "mine");
    let built = space.build_with(&Ask { overwrite: true, ..Ask::default() });
    assert_eq!(built.out["a"], OutWrite::Written);
    assert_eq!(space.read("tree/data/a.out"), "b");
    space.write("tree/a.txt", "c");
    assert_eq!(space.build().out["a"], OutWrite::Written, "it is ours again");
}

#[test]
fn a_file_that_was_there_before_is_somebodys() {
    let space = space("");
    space.write("tree/data/a.out", "older than the pipeline");
    assert_eq!(space.build().out["a"], OutWrite::Edited);
    space.write("tree/data/a.out", "a");
    assert_eq!(space.build().out["a"], OutWrite::Right);
}

#[test]
fn a_link_in_place_of_an_out_is_never_written_through() {
    let space = space("");
    space.write("elsewhere.txt", "precious");
    fs_err::create_dir_all(space.path("tree/data")).unwrap();
    fs_err::os::unix::fs::symlink(space.path("elsewhere.txt"), space.path("tree/data/a.out")).unwrap();
    assert_eq!(space.build().out["a"], OutWrite::Edited);
    space.build_with(&Ask { overwrite: true, ..Ask::default() });
    assert_eq!(space.read("elsewhere.txt"), "precious");
    assert_eq!(space.read("tree/data/a.out"), "a");
}

#[test]
fn a_folder_that_leads_out_of_the_project_fails_its_node_and_is_left_alone() {
    let space = space("[source.b]\ntype = \"text\"\npath = \"a.txt\"\nsuffix = \"b\"\nout = \"b.out\"");
    fs_err::create_dir(space.path("outside")).unwrap();
    fs_err::os::unix::fs::symlink(space.path("outside"), space.path("tree/data")).unwrap();
    space.edit("data/a.out", "data/deep/a.out");
    let built = space.build_with(&Ask { keep_going: true, ..Ask::default() });
    assert_eq!(built.errors["a"].code.as_deref(), Some("engine::out_outside"));
    assert_eq!(built.out["b"], OutWrite::Written);
    assert_eq!(fs_err::read_dir(space.path("outside")).unwrap().count(), 0, "no folder is made there");
}

#[test]
fn a_folder_of_files_is_replaced_as_a_whole() {
    let space = space("[filter.all]\ntype = \"join\"\nfrom = [\"a\"]\nfolder = true\nout = \"data/all\"");
    assert_eq!(space.build().out["all"], OutWrite::Written);
    assert_eq!(space.read("tree/data/all/deep/b.txt"), "deep/b.txt=a");
    space.write("tree/a.txt", "b");
    assert_eq!(space.build().out["all"], OutWrite::Written);
    assert_eq!(space.read("tree/data/all/a.txt"), "a.txt=b");
    space.write("tree/data/all/note.txt", "mine");
    space.write("tree/a.txt", "c");
    assert_eq!(space.build().out["all"], OutWrite::Edited);
    assert_eq!(space.read("tree/data/all/note.txt"), "mine");
}

#[test]
fn each_node_of_a_matrix_writes_its_own() {
    let space = space(
        "[filter.m]\ntype = \"join\"\nfrom = [\"a\"]\nout = \"m/{suffix}.txt\"\nmatrix = { suffix = [\"x\", \"y\"] }\n\
         [filter.all]\ntype = \"join\"\nfrom = [\"m@*\"]\nout = \"m/all.txt\"",
    );
    let built = space.build();
    assert_eq!(["x", "y", "all"].map(|name| space.read(&format!("tree/m/{name}.txt"))), ["ax", "ay", "axay"]);
    assert!(built.known.contains_key("m@suffix=x"), "{:?}", built.nodes);
}

#[test]
fn a_profile_writes_only_what_names_it() {
    let space = space(
        "[filter.p]\ntype = \"join\"\nfrom = [\"a\"]\nout = \"{profile}/p.txt\"\n[profile.small]\n\"filter.p.suffix\" = \"s\"",
    );
    space.build();
    let built = space.build_with(&Ask { profile: Some("small".into()), ..Ask::default() });
    assert_eq!((space.read("tree/default/p.txt"), space.read("tree/small/p.txt")), ("a".into(), "as".into()));
    assert_eq!(built.out.keys().collect::<Vec<_>>(), ["p"]);
}
