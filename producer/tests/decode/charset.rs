//! Character sets: every byte sequence of one and two bytes, and the longer ones, against the
//! server's own conversion to utf8mb4.

use std::collections::BTreeMap;

use millrace_producer::decode::charset::{Charset, needs_table, single_byte_table_query};

use crate::mysql::{Column, Database, with_database};

/// The single-byte sets come with the server's table.
async fn charset(database: &mut Database, name: &str) -> Charset {
    if !needs_table(name) {
        return Charset::by_name(name, None).unwrap();
    }
    let query = single_byte_table_query(name).unwrap().replacen("SELECT", "SELECT 1,", 1);
    let answer = database.texts(&query).await.remove(0).1.unwrap();
    Charset::single_byte(name, &answer).unwrap()
}

async fn charsets(database: &mut Database) -> BTreeMap<String, i32> {
    let sql = "SELECT maxlen, character_set_name FROM information_schema.character_sets";
    let rows = database.texts(sql).await;
    rows.into_iter().map(|(length, name)| (String::from_utf8(name.unwrap()).unwrap(), length)).collect()
}

fn unhex(text: &[u8]) -> Vec<u8> {
    text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

fn count(bytes: &[u8], wanted: u8) -> usize {
    bytes.iter().filter(|byte| **byte == wanted).count()
}

/// What the decoder owes for the server's answer: the same text, or an error where the server has no
/// column value (`stored` is NULL, or other bytes) or a replacement character.
fn expected(charset: &str, bytes: &[u8], stored: Option<&[u8]>, utf8: Option<&[u8]>) -> Option<Vec<u8>> {
    if stored != Some(bytes) {
        return None;
    }
    let utf8 = utf8?;
    // eucjpms counts a lead byte at the end as well-formed (a strict INSERT doesn't), and then the
    // conversion drops it without a word.
    if charset == "eucjpms" && (utf8.is_empty() || matches!(bytes, [0..=0x7f, 0x80..=0xff])) {
        return None;
    }
    let is_unicode = ["utf", "ucs2", "gb18030"].iter().any(|name| charset.starts_with(name));
    let replaced = !is_unicode && (utf8.windows(3).any(|bytes| bytes == "\u{fffd}".as_bytes()) || count(utf8, b'?') > count(bytes, b'?'));
    (!replaced).then(|| utf8.to_vec())
}

/// Compares the decoder with the server for `prefix` followed by every sequence of two bytes that
/// begins in `leads`; the answer is how many decode and how many are refused.
async fn compare(database: &mut Database, name: &str, prefix: &[u8], leads: std::ops::RangeInclusive<i32>) -> (usize, usize) {
    let charset = charset(database, name).await;
    let prefix_hex: String = prefix.iter().map(|byte| format!("{byte:02X}")).collect();
    let bytes = format!("UNHEX(CONCAT('{prefix_hex}', LPAD(HEX(a.i), 2, '0'), LPAD(HEX(b.i), 2, '0')))");
    let (first, last) = leads.into_inner();
    let sql = format!(
        "WITH RECURSIVE n AS (SELECT 0 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 255) \
         SELECT a.i * 256 + b.i, CONCAT(IFNULL(HEX(CONVERT({bytes} USING {name})), '-'), ' ', \
         IFNULL(HEX(CONVERT(CONVERT({bytes} USING {name}) USING utf8mb4)), '-')) \
         FROM n a, n b WHERE a.i BETWEEN {first} AND {last}"
    );
    let (mut decoded, mut refused) = (0, 0);
    let mut different = Vec::new();
    for (code, answer) in database.texts(&sql).await {
        let answer = answer.unwrap();
        let mut parts = answer.split(|byte| *byte == b' ').map(|part| (part != b"-").then(|| unhex(part)));
        let (stored, utf8) = (parts.next().unwrap(), parts.next().unwrap());
        let mut bytes = prefix.to_vec();
        bytes.extend(u16::try_from(code).unwrap().to_be_bytes());
        let expected = expected(name, &bytes, stored.as_deref(), utf8.as_deref());
        let mut out = Vec::new();
        let actual = charset.append_utf8(&bytes, &mut out).ok().map(|()| out);
        if actual != expected {
            different.push(format!("{bytes:02x?}: {actual:02x?} for {expected:02x?}"));
        }
        if actual.is_some() { decoded += 1 } else { refused += 1 }
    }
    assert!(different.is_empty(), "{name}: {} differ: {:?}", different.len(), different.iter().take(20).collect::<Vec<_>>());
    (decoded, refused)
}

#[tokio::test]
async fn every_sequence_of_two_bytes_in_every_character_set() {
    with_database(|mut database| async move {
        let names = charsets(&mut database).await;
        assert!(names.len() >= 40, "{}", names.len());
        for (name, length) in &names {
            assert_eq!(i32::from(charset(&mut database, name).await.max_bytes_per_char()), *length, "{name}");
            if name == "binary" {
                continue;
            }
            // A byte of a single-byte set doesn't depend on the one before it.
            let leads = if needs_table(name) { 0x41..=0x41 } else { 0..=255 };
            let (decoded, refused) = compare(&mut database, name, b"", leads).await;
            println!("{name}: {decoded} equal to the server's, {refused} refused as the server has none");
        }
    })
    .await;
}

#[tokio::test]
async fn every_sequence_of_three_bytes_in_the_sets_that_have_them() {
    with_database(|mut database| async move {
        for name in ["ujis", "eucjpms"] {
            let (decoded, refused) = compare(&mut database, name, &[0x8f], 0..=255).await;
            println!("{name} behind 8F: {decoded} equal, {refused} refused");
        }
        for name in ["utf8mb3", "utf8mb4"] {
            let name = if name == "utf8mb3" { "utf8" } else { name };
            for lead in [0xe0, 0xe1, 0xed, 0xef, 0xf0, 0xf4] {
                compare(&mut database, name, &[lead], 0..=255).await;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn four_bytes_of_gb18030_and_the_unicode_sets() {
    with_database(|mut database| async move {
        // Every code of four bytes that GB 18030 has for the basic plane, and every 17th behind it.
        let basic = (0..39_420_u32).collect::<Vec<_>>();
        let other = (189_000..189_000 + 0x10_0000).step_by(17).collect::<Vec<_>>();
        let gb18030 = |linear: &u32| {
            [linear / 12_600 + 0x81, linear / 1_260 % 10 + 0x30, linear / 10 % 126 + 0x81, linear % 10 + 0x30]
                .map(|byte| u8::try_from(byte).unwrap())
                .to_vec()
        };
        let characters = (0..=0x0010_ffff).step_by(7).filter_map(char::from_u32).collect::<Vec<_>>();
        let utf16 = |order: fn(u16) -> [u8; 2]| {
            let units = |character: &char| character.encode_utf16(&mut [0; 2]).iter().flat_map(|unit| order(*unit)).collect::<Vec<u8>>();
            characters.iter().map(units).collect::<Vec<_>>()
        };
        let sets: Vec<(&str, Vec<Vec<u8>>)> = vec![
            ("gb18030", basic.iter().chain(&other).map(gb18030).collect()),
            ("utf16", utf16(u16::to_be_bytes)),
            ("utf16le", utf16(u16::to_le_bytes)),
            ("utf32", characters.iter().map(|character| u32::from(*character).to_be_bytes().to_vec()).collect()),
        ];
        for (name, codes) in sets {
            let charset = charset(&mut database, name).await;
            for codes in codes.chunks(40_000) {
                let bytes = codes.concat();
                let hex: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
                let sql = format!("SELECT 1, CONVERT(CONVERT(x'{hex}' USING {name}) USING utf8mb4)");
                let text = database.texts(&sql).await.remove(0).1.unwrap();
                let mut out = Vec::new();
                charset.append_utf8(&bytes, &mut out).unwrap();
                assert!(out == text, "{name}");
            }
            println!("{name}: {} longer sequences equal", codes.len());
        }
    })
    .await;
}

#[tokio::test]
async fn columns_of_every_character_set_read_as_the_select_prints_them() {
    with_database(|mut database| async move {
        let texts = [
            "plain",
            "Grüße, œuvre",
            "Привет",
            "Γειά σου",
            "שלום",
            "مرحبا",
            "สวัสดี",
            "你好世界",
            "ひらがなｶﾀｶﾅ漢字",
            "안녕하세요",
            "Ærø ½ ¥ ~ \\ [x]",
            "😀𠀀",
        ];
        let mut compared = 0;
        for name in charsets(&mut database).await.into_keys().filter(|name| name != "binary") {
            let charset = charset(&mut database, &name).await;
            let table = format!("t_{name}");
            database.run(format!("CREATE TABLE {table} (id INT PRIMARY KEY, v VARCHAR(60) CHARACTER SET {name} NOT NULL)")).await;
            let since = database.position().await;
            database.run("SET sql_mode = ''").await;
            for (id, text) in texts.iter().enumerate() {
                // Characters that the set lacks become `?` here; what is stored is what counts.
                database.run(format!("INSERT INTO {table} VALUES ({id}, '{}')", text.replace('\\', "\\\\"))).await;
            }
            let prefix = if 60 * u32::from(charset.max_bytes_per_char()) > 255 { 2 } else { 1 };
            let images = database.images(&since, &table, Column::Sized(prefix)).await;
            for (id, text) in database.texts(&format!("SELECT id, v FROM {table}")).await {
                let mut out = Vec::new();
                charset.append_utf8(&images[&id], &mut out).unwrap();
                assert_eq!(String::from_utf8(out), String::from_utf8(text.unwrap()), "{name}");
                compared += 1;
            }
        }
        println!("{compared} column values");
    })
    .await;
}
