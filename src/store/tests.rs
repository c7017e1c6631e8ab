//! Tests of the store as its users see it.

use std::collections::BTreeMap;
use std::io::{Seek as _, SeekFrom, Write as _};

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
fn what_was_written_is_read_while_more_is_being_written() {
    let (_folder, store) = store();
    let digest = store.put(b"hello").unwrap();
    store.flush().unwrap();
    let read = || std::thread::scope(|scope| scope.spawn(|| store.get(&digest).unwrap()).join().unwrap());
    assert_eq!(store.database.write(|_| Ok(read())).unwrap(), b"hello");
}

#[test]
fn a_store_of_an_older_or_a_newer_format_is_refused_by_name_and_left_as_it_is() {
    for other in ["tunesmith store 0", "tunesmith store 99", "", "\u{fffd}"] {
        let (folder, store) = store();
        let kept = store.put(b"kept").unwrap();
        drop(store);
        let format = folder.path().join("cache/format");
        let right = fs_err::read(&format).unwrap();
        fs_err::write(&format, format!("{other}\n")).unwrap();
        let error = Store::open(&folder.path().join("cache"), None).unwrap_err();
        assert!(matches!(error, StoreError::Format { ref found, .. } if found == other), "{error}");
        fs_err::write(&format, right).unwrap();
        assert_eq!(Store::open(&folder.path().join("cache"), None).unwrap().get(&kept).unwrap(), b"kept");
    }
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

#[test]
fn a_file_that_is_written_again_within_a_tick_of_the_clock_is_read_again() {
    let (folder, store) = store();
    let path = folder.path().join("data.jsonl");
    for round in 0..300 {
        let text = format!("{round:04}");
        fs_err::write(&path, &text).unwrap();
        assert_eq!(store.file_digest(&path).unwrap(), Digest::of(text.as_bytes()), "round {round}");
    }
}

#[test]
fn a_file_that_is_written_while_it_is_hashed_is_refused_or_read_again() {
    const BYTES: usize = 1 << 20;
    let (folder, store) = store();
    let path = folder.path().join("data.bin");
    fs_err::write(&path, vec![0; BYTES]).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs_err::OpenOptions::new().write(true).open(&path).unwrap();
            for byte in (1..=u8::MAX).cycle() {
                if stop.load(std::sync::atomic::Ordering::Relaxed) {
                    return;
                }
                // In place, so that neither size nor inode tells.
                file.seek(SeekFrom::Start(0)).unwrap();
                file.write_all(&vec![byte; BYTES]).unwrap();
            }
        });
        // On a busy machine the two may take turns for a while.
        let refused = (0..50_000).any(|_| matches!(store.file_digest(&path), Err(StoreError::Changed { .. })));
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        refused
    });
    assert!(refused, "it was never written during a read");
    assert_eq!(store.file_digest(&path).unwrap(), Digest::of(&fs_err::read(&path).unwrap()));
}

#[test]
fn stamps_of_a_clock_that_was_ahead_vouch_for_nothing() {
    let (folder, store) = store();
    let path = folder.path().join("data.jsonl");
    let ahead = std::time::UNIX_EPOCH + std::time::Duration::from_secs(4_000_000_000);
    for text in ["one", "two"] {
        fs_err::write(&path, text).unwrap();
        fs_err::OpenOptions::new().write(true).open(&path).unwrap().into_file().set_modified(ahead).unwrap();
        assert_eq!(store.file_digest(&path).unwrap(), Digest::of(text.as_bytes()));
        assert!(store.database.stat(&path.to_string_lossy()).unwrap().is_none());
    }
}

#[test]
fn a_metric_is_the_same_after_it_was_stored() {
    let (_folder, store) = store();
    // Numbers with as many digits as there are; a reader that rounds twice loses the last bit of some.
    let mut state = 1_u64;
    let fields: BTreeMap<String, serde_json::Value> = (0..2_000)
        .map(|number| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (format!("metric-{number}"), json!(f64::from_bits((state >> 12) | (1023_u64 << 52)) * 1e-7))
        })
        .collect();
    let record = ActionRecord {
        explained: Explained::default(),
        outputs: BTreeMap::new(),
        fields,
        report: Vec::new(),
        provenance: Provenance::default(),
    };
    let key = Digest::of(b"key");
    store.publish(&key, &record, true).unwrap();
    assert_eq!(store.action(&key).unwrap().unwrap().fields, record.fields);
}
