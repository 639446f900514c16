//! What follows from ClickHouse's error codes (its `ErrorCodes.cpp`; a server lists them in `system.errors`) and from a proxy's HTTP statuses.
//!
//! One table. A code that isn't here stops: retrying an error that nobody knows would hide it. An answer without a code is a proxy's or none at
//! all: but for a few statuses its outcome is unknown, and it is tried again.

use crate::error::Disposition;

/// Codes, what follows from them, and what to do.
type Entry = (&'static [u32], Disposition, &'static str);

#[rustfmt::skip]
const TABLE: &[Entry] = {
    use Disposition::{DeadLetter, Refresh, Retry, Stop};
    &[
        // TIMEOUT_EXCEEDED, TOO_SLOW, QUOTA_EXCEEDED, TOO_MANY_SIMULTANEOUS_QUERIES, NO_FREE_CONNECTION, LIMIT_EXCEEDED, RECEIVED_ERROR_TOO_MANY_REQUESTS,
        // CANNOT_SCHEDULE_TASK, DEADLOCK_AVOIDED, TOO_MANY_MUTATIONS, USER_SESSION_LIMIT_EXCEEDED, TOO_SLOW_PARSING, SERVER_OVERLOADED,
        // TCP_CONNECTION_LIMIT_REACHED, HTTP_CONNECTION_LIMIT_REACHED, RESOURCE_LIMIT_EXCEEDED, QUERY_SLOT_ACQUISITION_TIMEOUT
        (&[159, 160, 201, 202, 203, 290, 364, 439, 473, 692, 700, 718, 745, 749, 762, 776, 1019], Retry, "it is overloaded, or the user's quota is used up; retried until it isn't"),
        // CANNOT_ALLOCATE_MEMORY, MEMORY_LIMIT_EXCEEDED, MEMORY_RESERVATION_KILLED, MEMORY_RESERVATION_FAILED, MEMORY_RESERVATION_ACQUISITION_TIMEOUT
        (&[173, 241, 777, 778, 1020], Retry, "it is out of memory; retried; if it stays so, raise its limit (max_memory_usage) or lower batch.bytes_max"),
        // TOO_MANY_PARTS
        (&[252], Retry, "too many parts: merges must catch up, retried until then; if it comes often, raise batch.age_max or partition the table more coarsely"),
        // NOT_ENOUGH_SPACE, and what a full or broken disk gives: CANNOT_READ_FROM_FILE_DESCRIPTOR, CANNOT_WRITE_TO_FILE_DESCRIPTOR, CANNOT_OPEN_FILE, CANNOT_CLOSE_FILE,
        // CANNOT_CREATE_DIRECTORY, CANNOT_FSYNC, CANNOT_STATVFS, CANNOT_WRITE_TO_FILE, CANNOT_STAT, CANNOT_CREATE_FILE, CANNOT_APPEND_TO_FILE, FS_METADATA_ERROR,
        // CANNOT_WRITE_TO_OSTREAM
        (&[24, 74, 75, 76, 77, 172, 204, 214, 243, 294, 400, 586, 641, 662], Retry, "its disk is full or fails; an administrator must make room, retried until then"),
        // NO_FILE_IN_DATA_PART, UNEXPECTED_FILE_IN_DATA_PART, BAD_SIZE_OF_FILE_IN_DATA_PART, CORRUPTED_DATA
        (&[226, 227, 228, 246], Retry, "a part of the table is broken on its disk, which a full disk can leave behind; restart ClickHouse, which sets it aside (system.detached_parts), and compare the table with millrace-verify; retried until then"),
        // NO_ZOOKEEPER, TABLE_IS_READ_ONLY, UNEXPECTED_ZOOKEEPER_ERROR, NO_ACTIVE_REPLICAS, TOO_MANY_RETRIES_TO_FETCH_PARTS, NO_AVAILABLE_REPLICA, TOO_FEW_LIVE_REPLICAS,
        // UNSATISFIED_QUORUM_FOR_PREVIOUS_WRITE, REPLICA_IS_NOT_IN_QUORUM, SHARD_HAS_NO_CONNECTIONS, UNKNOWN_STATUS_OF_INSERT, METADATA_MISMATCH, ALL_REPLICAS_ARE_STALE,
        // ALL_REPLICAS_LOST, REPLICA_STATUS_CHANGED, NO_REMOTE_SHARD_AVAILABLE, NOT_A_LEADER, RAFT_ERROR, DATABASE_REPLICATION_FAILED, UNKNOWN_STATUS_OF_TRANSACTION,
        // TOO_MANY_UNAVAILABLE_SHARDS, KEEPER_EXCEPTION
        (&[225, 242, 244, 254, 255, 265, 285, 286, 289, 297, 319, 342, 369, 415, 416, 519, 529, 568, 571, 659, 904, 999], Retry, "a replica or Keeper is unavailable; retried until it is back"),
        // S3_ERROR, AZURE_BLOB_STORAGE_ERROR, HDFS_ERROR, AWS_ERROR, GCP_ERROR, GOOGLE_CLOUD_ERROR, DISTRIBUTED_CACHE_ERROR, CANNOT_USE_DISTRIBUTED_CACHE,
        // DISTRIBUTED_CACHE_REGISTRY_SHUTDOWN, DISTRIBUTED_CACHE_SERVER_IN_BACKOFF
        (&[499, 500, 660, 693, 707, 737, 900, 901, 903, 905], Retry, "its object storage is unavailable; retried until it is back"),
        // UNEXPECTED_END_OF_FILE, CANNOT_READ_FROM_ISTREAM, ATTEMPT_TO_READ_AFTER_EOF, CANNOT_READ_ALL_DATA, RECEIVED_ERROR_FROM_REMOTE_IO_SERVER, CANNOT_READ_FROM_SOCKET,
        // CANNOT_WRITE_TO_SOCKET, UNKNOWN_PACKET_FROM_SERVER, UNEXPECTED_PACKET_FROM_SERVER, DNS_ERROR, SOCKET_TIMEOUT, NETWORK_ERROR, ALL_CONNECTION_TRIES_FAILED,
        // EXCHANGE_PEER_DISCONNECTED, POCO_EXCEPTION
        (&[3, 23, 32, 33, 86, 95, 96, 100, 102, 198, 209, 210, 279, 1018, 1000], Retry, "a connection to it or within its cluster broke; retried"),
        // TOO_LARGE_SIZE_COMPRESSED, CHECKSUM_DOESNT_MATCH, CANNOT_DECOMPRESS, ZSTD_DECODER_FAILED, LZ4_DECODER_FAILED
        (&[39, 40, 271, 561, 618], Retry, "the block came damaged; retried; if it stays so, something between here and it changes what is sent"),
        // QUERY_WITH_SAME_ID_IS_ALREADY_RUNNING, ABORTED, TABLE_WAS_NOT_DROPPED, UNFINISHED, PART_IS_TEMPORARILY_LOCKED, CANNOT_ASSIGN_OPTIMIZE, QUERY_WAS_CANCELLED, SYSTEM_ERROR,
        // CANNOT_ASSIGN_ALTER, SERIALIZATION_ERROR, THREAD_WAS_CANCELED, ASYNC_LOAD_FAILED, ASYNC_LOAD_CANCELED, CANNOT_GET_REPLICATED_DATABASE_SNAPSHOT, FAULT_INJECTED,
        // ASYNC_LOAD_WAIT_FAILED, TABLE_IS_BEING_RESTARTED, CANNOT_WRITE_AFTER_BUFFER_CANCELED, QUERY_WAS_CANCELLED_BY_CLIENT, PART_IS_LOCKED, STD_EXCEPTION
        (&[216, 236, 305, 341, 384, 388, 394, 425, 517, 650, 677, 695, 696, 709, 710, 722, 733, 734, 735, 738, 1001], Retry, "it was interrupted, or another consumer did the same at once; retried"),

        // UNKNOWN_TABLE, UNKNOWN_DATABASE, TABLE_IS_DROPPED, TABLE_UUID_MISMATCH
        (&[60, 81, 218, 741], Refresh, "the table was dropped or replaced; it is looked at again, and made anew where it isn't there"),
        // TABLE_ALREADY_EXISTS, DATABASE_ALREADY_EXISTS, DUPLICATE_COLUMN
        (&[15, 57, 82], Refresh, "another consumer was quicker; the table is looked at again"),
        // THERE_IS_NO_COLUMN, NOT_FOUND_COLUMN_IN_BLOCK, NO_SUCH_COLUMN_IN_TABLE, NUMBER_OF_COLUMNS_DOESNT_MATCH, ILLEGAL_COLUMN, UNKNOWN_IDENTIFIER, TYPE_MISMATCH,
        // CANNOT_CONVERT_TYPE, INCOMPATIBLE_COLUMNS
        (&[8, 10, 16, 20, 44, 47, 53, 70, 122], Refresh, "the table's columns were changed; it is looked at again"),

        // CANNOT_PARSE_TEXT, SIZE_OF_FIXED_STRING_DOESNT_MATCH, CANNOT_PARSE_ESCAPE_SEQUENCE, CANNOT_PARSE_QUOTED_STRING, CANNOT_PARSE_INPUT_ASSERTION_FAILED, CANNOT_PARSE_DATE,
        // CANNOT_PARSE_DATETIME, ARGUMENT_OUT_OF_BOUND, CANNOT_PARSE_NUMBER, INCORRECT_DATA, TOO_LARGE_ARRAY_SIZE, CANNOT_READ_ARRAY_FROM_TEXT, TOO_LARGE_STRING_SIZE,
        // ILLEGAL_DIVISION, INVALID_PARTITION_VALUE, VALUE_IS_OUT_OF_RANGE_OF_DATA_TYPE, CANNOT_PARSE_UUID, FUNCTION_THROW_IF_VALUE_IS_NON_ZERO, DECIMAL_OVERFLOW,
        // CANNOT_PARSE_DOMAIN_VALUE_FROM_STRING, CANNOT_PARSE_BOOL, CANNOT_READ_MAP_FROM_TEXT, UNEXPECTED_DATA_AFTER_PARSED_VALUE, CANNOT_PARSE_IPV4, CANNOT_PARSE_IPV6,
        // UNKNOWN_ELEMENT_OF_ENUM
        (&[6, 19, 25, 26, 27, 38, 41, 69, 72, 117, 128, 130, 131, 153, 248, 321, 376, 395, 407, 441, 467, 563, 632, 675, 676, 691], DeadLetter, "a row's content doesn't fit its column, or a default, view or projection of the table"),
        // CANNOT_INSERT_NULL_IN_ORDINARY_COLUMN
        (&[349], DeadLetter, "a row has NULL where the column takes none"),
        // VIOLATED_CONSTRAINT
        (&[469], DeadLetter, "a row violates a constraint of the table"),
        // TOO_MANY_PARTITIONS: halves of the block have fewer, and no single row has too many.
        (&[565], DeadLetter, "the rows belong to more partitions than one insert may have (max_partitions_per_insert_block); they are inserted in smaller blocks"),

        // UNKNOWN_USER, WRONG_PASSWORD, REQUIRED_PASSWORD, AUTHENTICATION_FAILED, USER_EXPIRED, REQUIRED_SECOND_FACTOR
        (&[192, 193, 194, 516, 720, 767], Stop, "check clickhouse.user and clickhouse.password"),
        // IP_ADDRESS_NOT_ALLOWED
        (&[195], Stop, "let the user come from this address (its HOST clause or networks)"),
        // DATABASE_ACCESS_DENIED, ACCESS_DENIED
        (&[291, 497], Stop, "grant the user SELECT, INSERT, ALTER, CREATE TABLE, CREATE VIEW and DROP VIEW on the database, and CREATE DATABASE or make the database by hand; TABLE ENGINE on the tables' engines where the server asks for it, SYSTEM SYNC REPLICA where tables are Replicated, CLUSTER with clickhouse.cluster"),
        // READONLY
        (&[164], Stop, "the user's profile is read-only (setting 'readonly'); give the user another profile"),
        // SETTING_CONSTRAINT_VIOLATION, READONLY_SETTING
        (&[452, 472], Stop, "the user's profile forbids a setting that the consumer must make; lift its constraint"),
        // UNKNOWN_SETTING, UNKNOWN_FUNCTION, UNKNOWN_TYPE, UNKNOWN_STORAGE, SYNTAX_ERROR
        (&[46, 50, 56, 62, 115], Stop, "check the table's rule; if it is right, this server is older than the consumer needs: 25.6 or newer"),
        // SUPPORT_IS_DISABLED
        (&[344], Stop, "the server has this switched off; see which setting its words name"),
        // BAD_ARGUMENTS, STORAGE_REQUIRES_PARAMETER, ILLEGAL_TYPE_OF_ARGUMENT, NUMBER_OF_ARGUMENTS_DOESNT_MATCH, ILLEGAL_SYNTAX_FOR_DATA_TYPE, DATA_TYPE_CANNOT_BE_USED_IN_TABLES,
        // ILLEGAL_SYNTAX_FOR_CODEC_TYPE, UNKNOWN_CODEC, ILLEGAL_CODEC_PARAMETER, BAD_TTL_EXPRESSION, SUSPICIOUS_TYPE_FOR_LOW_CARDINALITY, INVALID_SETTING_VALUE,
        // DATA_TYPE_CANNOT_BE_USED_IN_KEY
        (&[36, 42, 43, 55, 370, 377, 431, 432, 433, 450, 455, 471, 549], Stop, "check the table's rule: engine, order_by, partition_by, ttl, settings, columns; a Replicated table whose path has {uuid} needs clickhouse.cluster or a database of the engine Replicated"),
        // ALTER_OF_COLUMN_IS_FORBIDDEN, HAVE_DEPENDENT_OBJECTS
        (&[524, 630], Stop, "something depends on the column; change it by hand, or set the policy under 'evolve' to keep"),
        // REPLICA_ALREADY_EXISTS
        (&[253], Stop, "Keeper still knows a replica of a table that is gone; SYSTEM DROP REPLICA, or use a path with {uuid}"),
        // BAD_GET, CLUSTER_DOESNT_EXIST
        (&[170, 701], Stop, "the server doesn't know the cluster; check clickhouse.cluster against system.clusters"),
        // TOO_MANY_ROWS, TOO_MANY_BYTES, TOO_MANY_ROWS_OR_BYTES, TOO_MANY_COLUMNS, QUERY_IS_TOO_LARGE
        (&[158, 161, 229, 307, 396], Stop, "a limit of the user's profile is too low for what the consumer does; raise it, or lower batch.rows_max and batch.bytes_max"),
        // TOO_MANY_TABLES, TOO_MANY_DATABASES, TABLE_SIZE_LIMIT_EXCEEDED
        (&[724, 725, 1016], Stop, "the server's limit of tables, databases or their size is reached; raise it, or load fewer topics"),
        // TABLE_IS_PERMANENTLY_READ_ONLY
        (&[774], Stop, "the table takes no rows any more; load another one"),
        // DEDUPLICATION_IS_NOT_POSSIBLE
        (&[764], Stop, "rows can't be told to be the same, and exactly once rests on it; look at the table's materialized views"),
        // LOGICAL_ERROR
        (&[49], Stop, "this is a defect of the server; see its log"),
    ]
};

/// What follows from ClickHouse's error codes, and what to do.
#[must_use]
pub fn clickhouse_code(code: u32) -> (Disposition, &'static str) {
    let found = TABLE.iter().find(|(codes, ..)| codes.contains(&code));
    found.map_or((Disposition::Stop, "look the code up in system.errors and the server's log"), |(_, disposition, hint)| {
        (*disposition, *hint)
    })
}

/// What to do about a status that waiting doesn't heal, of something that stands before ClickHouse. All others may be gone with the next try.
#[must_use]
pub fn refused_status(status: u16) -> Option<&'static str> {
    match status {
        401 | 403 | 407 => Some("what stands before ClickHouse refuses the consumer; check its rules and clickhouse.url"),
        413 => Some("what stands before ClickHouse refuses a body so large; raise its limit, or lower batch.rows_max and batch.bytes_max"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn each_code_stands_once() {
        let mut seen = BTreeSet::new();
        for (codes, ..) in TABLE {
            assert!(codes.iter().all(|code| seen.insert(*code)), "{codes:?}");
        }
    }

    #[test]
    fn each_code_has_its_disposition() {
        use Disposition::{DeadLetter, Refresh, Retry, Stop};
        for (codes, expected) in [
            (&[159, 201, 202, 209, 210, 225, 241, 242, 243, 252, 285, 286, 319, 425, 517, 745, 999][..], Retry),
            (&[8, 15, 16, 20, 44, 47, 53, 57, 60, 70, 81, 82, 122, 218], Refresh),
            (&[6, 38, 41, 69, 72, 117, 131, 321, 349, 376, 407, 469, 565, 691], DeadLetter),
            // What isn't known stops: 0 is no error, 530 and 9999 are none of an insert's.
            (&[49, 50, 62, 115, 164, 192, 291, 344, 497, 516, 0, 530, 9999], Stop),
        ] {
            for code in codes {
                assert_eq!(clickhouse_code(*code).0, expected, "{code}");
                assert!(!clickhouse_code(*code).1.is_empty());
            }
        }
    }

    #[test]
    fn the_status_of_a_proxy_is_retried_unless_waiting_cannot_heal_it() {
        for status in [404, 408, 429, 500, 502, 503, 504] {
            assert_eq!(refused_status(status), None, "{status}");
        }
        for status in [401, 403, 407, 413] {
            assert!(refused_status(status).is_some(), "{status}");
        }
    }
}
