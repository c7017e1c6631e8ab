//! Tests of the store as its users see it.

use serde_json::json;

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(&folder.path().join("cache"), None).unwrap();
    (folder, store)
}

#[test]
fn a_small_object_is_read_back_before_and_after_its_group_is_written() {
    let (folder, store) = store();
    let digest = store.put(b"hello").unwrap();
    assert_eq!(store.get(&digest).unwrap(), b"hello");
    store.flush().unwrap();
    assert_eq!(store.get(&digest).unwrap(), b"hello");
    drop(store);
    let store = Store::open(&folder.path().join("cache"), None).unwrap();
    assert_eq!(store.get(&digest).unwrap(), b"hello");
}

#[test]
fn a_store_of_another_format_is_refused_by_name() {
    let (folder, store) = store();
    drop(store);
    fs_err::write(folder.path().join("cache/format"), "tunesmith store 99\n").unwrap();
    let error = Store::open(&folder.path().join("cache"), None).unwrap_err();
    assert!(matches!(error, StoreError::Format { ref found, .. } if found == "tunesmith store 99"), "{error}");
}

#[test]
fn a_damaged_file_object_is_dropped_and_named() {
    let (_folder, store) = store();
    let file = store.put_file_bytes(b"model").unwrap();
    let path = store.path(&file).unwrap();
    fs_err::remove_file(&path).unwrap();
    fs_err::write(&path, b"mOdel").unwrap();
    assert!(matches!(store.path(&file), Err(StoreError::Damaged { .. })));
    assert!(!store.has_file(&file));
    assert!(matches!(store.path(&file), Err(StoreError::Missing { .. })));
}

/// Replaces a stored file by other bytes of the same size.
fn damage(path: &Path) {
    fs_err::remove_file(path).unwrap();
    fs_err::write(path, "other bytes").unwrap();
}

#[test]
fn readers_that_find_the_same_damage_at_once_all_say_so_or_find_it_gone() {
    let (_folder, store) = store();
    let file = store.put_file_bytes(b"right bytes").unwrap();
    for _ in 0..100 {
        damage(&store.path(&file).unwrap());
        std::thread::scope(|scope| {
            let reader = || scope.spawn(|| store.path(&file).unwrap_err());
            for error in [reader(), reader(), reader()].map(|reader| reader.join().unwrap()) {
                assert!(matches!(error, StoreError::Damaged { .. } | StoreError::Missing { .. }), "{error:?}");
            }
        });
        store.put_file_bytes(b"right bytes").unwrap();
    }
}

#[test]
fn bytes_that_are_stored_again_take_the_place_of_damaged_ones() {
    let (_folder, store) = store();
    let file = store.put_file_bytes(b"right bytes").unwrap();
    damage(&store.path(&file).unwrap());
    store.put_file_bytes(b"right bytes").unwrap();
    assert_eq!(fs_err::read(store.path(&file).unwrap()).unwrap(), b"right bytes");
}

#[test]
fn the_second_store_serves_what_the_first_pushed() {
    let folder = tempfile::tempdir().unwrap();
    let shared = folder.path().join("shared");
    let first = Store::open(&folder.path().join("a"), Some(&shared)).unwrap();
    let file = first.put_file_bytes(b"weights").unwrap();
    let chunk = first.put(b"chunk").unwrap();
    first.push(&Artifact::File(file), &[chunk]).unwrap();
    drop(first);
    let second = Store::open(&folder.path().join("b"), Some(&shared)).unwrap();
    assert_eq!(second.get(&chunk).unwrap(), b"chunk");
    assert_eq!(fs_err::read(second.path(&file).unwrap()).unwrap(), b"weights");
}

#[test]
fn a_key_does_not_depend_on_the_order_in_which_settings_are_written() {
    let key = |settings: &serde_json::Value| {
        Key { kind: "filter.split", kind_version: 1, settings, outside: &[], inputs: &[], files: &[], tools: &[] }
            .digest()
    };
    let one: serde_json::Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
    let two: serde_json::Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
    assert_eq!(key(&one), key(&two));
    assert_ne!(key(&one), key(&json!({"a": 1, "b": {"c": 2, "d": 4}})));
}

#[test]
fn changes_between_keys_name_the_part_with_both_values() {
    let explained = |settings: &serde_json::Value| {
        Key { kind: "train.lora", kind_version: 1, settings, outside: &[], inputs: &[], files: &[], tools: &[] }
            .explained()
    };
    let changes = explained(&json!({"rank": 8, "seed": 1})).changes(&explained(&json!({"rank": 16, "seed": 1})));
    assert_eq!(changes, [KeyChange { part: "settings.rank".into(), old: Some("8".into()), new: Some("16".into()) }]);
}

#[test]
fn an_edited_file_gets_a_new_digest_and_an_unchanged_one_is_vouched_for() {
    let (folder, store) = store();
    let path = folder.path().join("data.jsonl");
    fs_err::write(&path, "one").unwrap();
    let first = store.file_digest(&path).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(40));
    assert_eq!(store.file_digest(&path).unwrap(), first);
    fs_err::write(&path, "two").unwrap();
    assert_ne!(store.file_digest(&path).unwrap(), first);
}
